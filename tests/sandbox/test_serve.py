"""The process: it ends when told, it is alone in its home, and its ids are its own."""

import asyncio
import socket
import time

import pytest

from souk.sandbox import SandboxSettings, create_app, run
from souk.sandbox.book import make_id
from souk.sandbox.serve import SCHEMA
from souk.sandbox.world import World

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_it_ends_cleanly_though_calls_play_slow_and_the_shop_is_deaf(start_sandbox, visit):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        sandbox = start_sandbox(timeout_s=60.0, webhook_timeout_s=60.0, webhook_url=url, public_url="https://pay.shop.test/")
        merchant = visit(sandbox)
        assert (await merchant.checkout()).body["redirect_url"].startswith("https://pay.shop.test/pay/co_")
        asking = [asyncio.create_task(merchant.charge(token)) for token in ("tok_timeout", "tok_webhook_before_response")]
        await asyncio.sleep(0.2)
        started = time.monotonic()
        assert await asyncio.to_thread(sandbox.end) == 0
        assert time.monotonic() - started < 3
        assert [(await told).body["status"] for told in asking] == ["succeeded", "succeeded"]
        assert "Traceback" not in (sandbox.home / "log").read_text()


async def test_a_second_one_in_the_same_home_or_on_the_same_port_is_refused(sandbox, tmp_path, monkeypatch):
    with pytest.raises(OSError, match="in use"):
        await run(SandboxSettings(tmp_path, "http://127.0.0.1:1/", SECRET, "key"), "127.0.0.1", sandbox.port)
    monkeypatch.setattr(sandbox, "port", 0)
    second = sandbox.spawn()
    assert await asyncio.to_thread(second.wait, 10) != 0
    assert "another sandbox works in" in (sandbox.home / "log").read_text()


@pytest.mark.parametrize(("seed", "same"), [(7, True), (0, False)])
async def test_ids_are_the_same_with_a_seed_and_never_without(tmp_path, seed, same):
    ids = []
    for home in ("one", "two"):
        world = World(SandboxSettings(tmp_path / home, "http://127.0.0.1:1/", SECRET, "key", seed), SCHEMA)
        await world.open()
        ids.append(await world.writer.write(lambda db: make_id(db, "ch")))
        await world.close()
    assert (ids[0] == ids[1]) is same


async def test_latency_and_reset(merchant):
    told = await merchant.post("/control", {"latency_ms": 150, "next": "declined", "count": 2})
    assert told.body == {"next": ["declined", "declined"], "down": False, "latency_ms": 150, "hold_webhooks": False}
    started = time.monotonic()
    await merchant.get("/v1/book")
    assert time.monotonic() - started >= 0.15
    assert (await merchant.post("/control/reset")).body == {"next": [], "down": False, "latency_ms": 0, "hold_webhooks": False}
    assert (await merchant.get("/control")).body["next"] == []
    assert (await merchant.charge("tok_ok")).body["status"] == "succeeded"
    assert (await merchant.post("/control", {"next": "unheard_of"})).status == 422


def test_a_wrong_secret_is_refused_before_anything_is_served(tmp_path):
    with pytest.raises(ValueError, match="secret"):
        create_app(SandboxSettings(tmp_path, "http://127.0.0.1:1/", "whsec_c2hvcnQ=", "key"))
