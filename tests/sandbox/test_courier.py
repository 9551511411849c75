"""Webhooks come until they are heard, with growing pauses, over a restart too, and not for ever."""

import asyncio
import signal
import socket
from itertools import pairwise

from souk.sandbox.settings import SandboxSettings


async def delivery_of(merchant, payment_id):
    items = (await merchant.get("/v1/deliveries?limit=1000")).body["items"]
    return next(item for item in items if item["payment_id"] == payment_id)


async def test_tried_again_with_growing_pauses_until_2xx(merchant, receiver):
    receiver.refuse_next = 3
    charge_id = (await merchant.charge("tok_ok")).body["id"]
    heard = await receiver.wait_for(charge_id, 4)
    assert len({one.headers["webhook-id"] for one in heard}) == 1
    assert len({one.body for one in heard}) == 1
    assert all(one.is_genuine for one in heard)
    pauses = [later.at - earlier.at for earlier, later in pairwise(heard)]
    assert pauses == sorted(pauses)
    await asyncio.sleep(0.1)
    delivery = await delivery_of(merchant, charge_id)
    assert (delivery["status"], delivery["attempts"], delivery["last_answer"]) == ("delivered", 4, "204")


async def test_given_up_at_last(start_sandbox, visit, receiver):
    merchant = visit(start_sandbox(webhook_retries_s=[0.02, 0.04]))
    receiver.refuse_next = 3
    charge_id = (await merchant.charge("tok_ok")).body["id"]
    await receiver.wait_for(charge_id, 3)
    await asyncio.sleep(0.15)
    delivery = await delivery_of(merchant, charge_id)
    assert (delivery["status"], delivery["attempts"], delivery["last_answer"]) == ("given_up", 3, "503")
    assert len(receiver.of(charge_id)) == 3


async def test_a_restart_after_kill_9_goes_on_with_the_queue(start_sandbox, visit, receiver):
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes the connection and never answers
        sandbox = start_sandbox(webhook_url=f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        merchant = visit(sandbox)
        under_way = (await merchant.charge("tok_ok")).body["id"]
        waiting = (await merchant.charge("tok_webhook_late")).body["id"]
        forgotten = (await merchant.checkout(expires_in_s=0.3)).body["id"]
        await asyncio.sleep(0.1)
        assert [(await delivery_of(merchant, charge_id))["status"] for charge_id in (under_way, waiting)] == ["sending", "waiting"]
        sandbox.end(signal.SIGKILL)
    sandbox.settings["webhook_url"] = receiver.url
    sandbox.start()
    types = []
    for payment_id in (under_way, waiting, forgotten):
        [heard] = await receiver.wait_for(payment_id, 1)
        assert heard.is_genuine
        types.append(heard.event["type"])
    assert types == ["charge.succeeded", "charge.succeeded", "checkout.expired"]


async def test_webhooks_are_held_and_let_go(merchant, receiver):
    await merchant.post("/control", {"hold_webhooks": True})
    charge_id = (await merchant.charge("tok_ok")).body["id"]
    await asyncio.sleep(0.15)
    assert receiver.of(charge_id) == []
    await merchant.post("/control", {"hold_webhooks": False})
    assert len(await receiver.wait_for(charge_id, 1)) == 1


async def test_a_burst_is_carried_whole(merchant, receiver):
    told = await asyncio.gather(*(merchant.charge("tok_ok") for _ in range(100)))
    for one in told:
        assert len({heard.headers["webhook-id"] for heard in await receiver.wait_for(one.body["id"], 1)}) == 1


def test_pauses_grow_in_the_settings_of_a_shop():
    retries = SandboxSettings.__struct_defaults__[-1]
    assert list(retries) == sorted(retries)
