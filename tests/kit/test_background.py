"""What is woken by a bell does what is to be done, misses nothing that comes meanwhile, and goes on after trouble."""

import asyncio
from collections.abc import Iterator

import pytest

from souk.kit.background import WORKERS, whenever
from souk.kit.db import Bell
from souk.kit.errors import Unavailable


@pytest.fixture(autouse=True)
def own_workers() -> Iterator[None]:
    before = dict(WORKERS)
    yield
    WORKERS.clear()
    WORKERS.update(before)


class Desk:
    """Work that lies there, and who does it."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.left = 0
        self.done: asyncio.Queue[int] = asyncio.Queue()
        self.trouble = 0
        self.comes_meanwhile = 0

        @whenever(self.bell, alone=True)
        async def work() -> int:
            if self.trouble:
                self.trouble -= 1
                raise Unavailable("not now")
            found, self.left = self.left, 0
            if self.comes_meanwhile and not found:
                # After we have looked, and before we wait.
                self.add(self.comes_meanwhile)
                self.comes_meanwhile = 0
            if found:
                self.done.put_nowait(found)
            return found

        self.worker = next(reversed(WORKERS.values()))

    def add(self, count: int) -> None:
        self.left += count
        self.bell.ring()


async def run(desk: Desk) -> "asyncio.Task[None]":
    return asyncio.create_task(desk.worker.run_forever())


async def test_a_bell_that_rings_between_looking_and_waiting_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.background.LOOK_AGAIN_S", 3600.0)
    desk = Desk()
    desk.comes_meanwhile = 3
    running = await run(desk)
    assert await asyncio.wait_for(desk.done.get(), 10) == 3
    await asyncio.sleep(0)
    desk.add(2)
    assert await asyncio.wait_for(desk.done.get(), 10) == 2
    running.cancel()


async def test_what_nobody_rings_for_is_found_all_the_same() -> None:
    desk = Desk()
    running = await run(desk)
    await asyncio.sleep(0.05)
    desk.left = 4
    assert await asyncio.wait_for(desk.done.get(), 10) == 4
    running.cancel()


async def test_after_trouble_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.background.PAUSE_S", 0.01)
    desk = Desk()
    desk.trouble, desk.left = 3, 5
    running = await run(desk)
    assert await asyncio.wait_for(desk.done.get(), 10) == 5
    running.cancel()


def test_two_workers_of_one_name_are_a_mistake() -> None:
    Desk()
    with pytest.raises(TypeError):
        Desk()
