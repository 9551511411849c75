"""Processes share the work, and one that is killed while it sends leaves nothing untold and nothing out of order."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from tests.journeys.processes import Process
from tests.ports import find_free_port
from tests.torture import rounds
from tests.waiting import until
from tests.webhooks.outside import Heard, Outside
from tests.webhooks.telling import check_books, happen, payout, settle, subscribe

from souk.app import Shop
from souk.webhooks.database import db
from souk.webhooks.settings import settings

SENT = "payments.payout_sent"

Start = Callable[[], Process]


@pytest.fixture
async def start(shop: Shop, dsn: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts processes of the whole shop; all that run are stopped at the end."""
    settings.replace(allow_private=True)
    started: list[Process] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_")}
    environment |= {
        "DATABASE_URL": dsn,
        "SOUK_HOME": str(shop.settings.home),
        "SOUK_WEBHOOKS_ALLOW_PRIVATE": "true",
        "SOUK_WEBHOOKS_RETRIES_S": ",".join(["0.1"] * 50),
    }

    def run() -> Process:
        port, number = find_free_port(), len(started)
        process = Process(
            f"shop {number}",
            tmp_path / f"{number}.log",
            ["serve", "all", "--port", str(port)],
            environment,
            f"http://127.0.0.1:{port}",
        )
        process.start()
        process.wait_until_ready()
        started.append(process)
        return process

    yield run
    for process in started:
        if process.runs:
            process.kill()


def ids(heard: list[Heard]) -> list[str]:
    return [one.id for one in heard]


def amounts(heard: list[Heard]) -> list[int]:
    return [one.data["amount"]["amount"] for one in heard]


def without_repeats(values: list[int]) -> list[int]:
    """What came, without what came twice in a row."""
    return [one for place, one in enumerate(values) if place == 0 or values[place - 1] != one]


async def test_killed_while_it_sends(start: Start, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    released = outside.hang("/a")
    first = start()
    await happen(payout(1), payout(2))
    await outside.hears("/a", 1)
    first.kill()
    outside.answer("/a", 200)
    released.set()
    start()
    await settle(opened.webhook.id, "delivered", "delivered")
    heard = outside.heard["/a"]
    assert amounts(heard) == [1, 1, 2]
    assert ids(heard)[0] == ids(heard)[1]
    for one in heard:
        one.verify(opened.secret)
    await check_books()


async def test_a_living_process_takes_over_at_once(start: Start, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    outside.hang("/a")
    first = start()
    await happen(payout(1))
    await outside.hears("/a", 1)
    second = start()
    assert outside.at_once["/a"] <= 1
    # More than one if it took longer to start another process than the first one waits for an answer: that one then asks again.
    asked = len(outside.heard["/a"])
    outside.answer("/a", 200)
    first.kill()
    await settle(opened.webhook.id, "delivered")
    assert second.runs
    assert amounts(outside.heard["/a"]) == [1] * (asked + 1)
    assert len(set(ids(outside.heard["/a"]))) == 1
    await check_books()


async def test_two_processes_share_the_work_and_never_one_endpoint(start: Start, outside: Outside) -> None:
    paths = [f"/{number}" for number in range(8)]
    opened = [await subscribe(outside.url(path), SENT) for path in paths]

    async def take_a_while(_: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response()

    outside.answers |= dict.fromkeys(paths, take_a_while)
    start()
    start()
    for first in range(0, 60, 6):
        await happen(*(payout(amount) for amount in range(first, first + 6)))
    for one in opened:
        await settle(one.webhook.id, *["delivered"] * 60)
    for path in paths:
        assert outside.most_at_once[path] == 1
        assert amounts(outside.heard[path]) == list(range(60))
    assert await db.value("SELECT count(DISTINCT lease_owner) FROM webhooks.webhook") >= 1
    await check_books()


@pytest.mark.timeout(600)
async def test_killed_again_and_again(start: Start, outside: Outside) -> None:
    paths = ["/0", "/1", "/2"]
    opened = [await subscribe(outside.url(path), SENT) for path in paths]
    dice, told = random.Random(7), 0

    async def sometimes(_: web.Request) -> web.Response:
        await asyncio.sleep(dice.random() / 50)
        return web.Response(status=500 if dice.random() < 0.1 else 200)

    outside.answers |= dict.fromkeys(paths, sometimes)
    processes = [start(), start()]
    for number in range(rounds(2, 50)):
        for _ in range(10):
            await happen(payout(told), payout(told + 1))
            told += 2
        await outside.hears("/0", told - dice.randrange(15))
        processes[number % 2].kill()
        processes[number % 2] = start()

    async def all_is_told() -> bool:
        return not await db.value("SELECT count(*) FROM webhooks.delivery WHERE status = 'waiting'") and bool(
            await db.value("SELECT count(*) = $1 FROM webhooks.delivery", told * len(paths))
        )

    await until(all_is_told, within_s=60)
    for path, one in zip(paths, opened, strict=True):
        assert without_repeats(amounts(outside.heard[path])) == list(range(told))
        assert outside.most_at_once[path] == 1
        for heard in outside.heard[path]:
            heard.verify(one.secret)
    await check_books()
