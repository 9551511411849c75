"""Under load the server, PostgreSQL and the card processor are killed at random moments: nothing that was acknowledged is lost."""

import asyncio
import os
import random
import re
import secrets
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from tests.crashes.conftest import RECOVERS_WITHIN_S, Victim, meeting, running
from tests.crashes.shoppers import Shoppers
from tests.journeys.market import open_market
from tests.torture import TORTURE, report, rounds

from souk.kit.postgres import start as start_postgres

CLIENTS = 16
REPLAYS_WITHIN_S = 5.0
# A living shop that got no answer from its processor asks again after 15 seconds.
RESTS_WITHIN_S = 30.0
REDO = re.compile(r"redo done .* elapsed: ([\d.]+) s")


class Kill(msgspec.Struct, frozen=True):
    """What was killed, how long it took to start, and when the next buyer was served, both counted from the start."""

    what: str
    orders: int
    start_s: float
    served_s: float
    replay_s: float | None = None


def kill_postgres(folder: Path) -> None:
    """The postmaster and all its children, as a machine does that runs out of memory."""
    postmaster = int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(postmaster)], capture_output=True, text=True, check=False).stdout
    for pid in (postmaster, *map(int, children.split())):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        while True:  # until its parent, which is this process, has heard of it
            os.kill(postmaster, 0)
            time.sleep(0.005)


class Nemesis:
    """Kills one of the three, and starts it again as whoever watches over it does."""

    def __init__(self, victim: Victim, shoppers: Shoppers, folder: Path) -> None:
        self.victim = victim
        self.shoppers = shoppers
        self.folder = folder

    async def strike(self, what: str) -> Kill:
        """One death, and the way back from it."""
        orders = len(self.shoppers.placed)
        if what == "server":
            await asyncio.to_thread(self.victim.server.kill)
            began = await self.victim.start()
        elif what == "processor":
            await asyncio.to_thread(self.victim.sandbox.end, signal.SIGKILL)
            began = time.monotonic()
            await asyncio.to_thread(self.victim.sandbox.start)
        else:
            await asyncio.to_thread(kill_postgres, self.folder)
            began = time.monotonic()
            await asyncio.to_thread(start_postgres, self.folder)
        up = time.monotonic()
        served = await self.shoppers.served_after(up if what != "server" else began)
        return Kill(what, orders, up - began, served - began, self.find_replay() if what == "postgresql" else None)

    def find_replay(self) -> float:
        """How long PostgreSQL says that it read its log."""
        told = REDO.findall((self.folder / "postgres" / "postgres.log").read_text())
        return float(told[-1]) if told else 0.0


def make_table(seed: int, kills: list[Kill], orders: int) -> str:
    lines = [
        f"{len(kills)} kills under {CLIENTS} buyers, {orders} orders acknowledged, SEED={seed}",
        "",
        "| killed | orders before | up again after s | buyers served again after s | replay s |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.what} | {one.orders} | {one.start_s:.2f} | {one.served_s:.2f} | {'' if one.replay_s is None else f'{one.replay_s:.2f}'} |"
        for one in kills
    ]
    return "\n".join(lines)


@pytest.fixture
async def doomed(tmp_path: Path) -> AsyncIterator[Victim]:
    """A shop with a PostgreSQL of its own, with the settings that every shop has."""
    folder = tmp_path / "shop"
    folder.mkdir()
    with start_postgres(folder) as postgres, running(tmp_path, postgres.dsn()) as (processes, sandbox):
        async with meeting(processes, sandbox) as victim:
            yield victim
    # The server of the last restart is another object than the one that was started first.
    start_postgres(folder).stop()


def choose_kills(dice: random.Random) -> list[str]:
    """Each of the three as often as the others, in any order."""
    kinds = ["processor", "server", "postgresql"] * rounds(1, 10)
    dice.shuffle(kinds)
    return kinds


@pytest.mark.timeout(3600 if TORTURE else 180)
async def test_kills_at_random_moments_lose_nothing(doomed: Victim, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", secrets.randbelow(2**32)))
    dice = random.Random(seed)
    market = await open_market(doomed)
    goods = await market.put_on_sale(1_000_000)
    shoppers = Shoppers([await doomed.buyer() for _ in range(CLIENTS)], goods["sku"])
    nemesis = Nemesis(doomed, shoppers, tmp_path / "shop")
    kills: list[Kill] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(shoppers.run())
        for what in choose_kills(dice):
            await asyncio.sleep(dice.uniform(0.5, 3.0))
            kills.append(await nemesis.strike(what))
        shoppers.stop()
    stopped = time.monotonic()
    rested_s = await doomed.rest(within_s=RESTS_WITHIN_S) - stopped
    table = f"{make_table(seed, kills, len(shoppers.placed))}\n\nAt rest {rested_s:.1f} s after the last order."
    report("random-kills.md", table)
    await doomed.expire()
    await doomed.rest()
    assert await doomed.find_faults(*shoppers.placed) == [], table
    doomed.audit()
    assert max(one.served_s for one in kills) < RECOVERS_WITHIN_S, table
    assert max(one.replay_s or 0.0 for one in kills) < REPLAYS_WITHIN_S, table
