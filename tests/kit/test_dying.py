"""Processes that work the queue die in the middle of a job: others go on with it, and what is to have its effect once has it once."""

import asyncio
from collections.abc import Callable

from tests.kit import chores
from tests.kit.conftest import Process
from tests.kit.notebook import db
from tests.kit.test_queue import done, put, until_done, until_states
from tests.torture import rounds

Start = Callable[..., Process]


async def pid_of(name: str) -> int:
    found: int = await db.value("SELECT pid FROM kit.chore WHERE name = $1 ORDER BY place DESC LIMIT 1", name)
    return found


async def test_a_job_whose_process_is_killed_runs_again_and_has_its_effect_once(here: str, start_process: Start) -> None:
    workers = {process.pid: process for process in (start_process("work", here) for _ in range(2))}
    await put(chores.write_once, "once and for all")
    await until_done("try", 1)
    first = await pid_of("try")
    workers[first].kill()
    await until_done("once", 1)
    await until_states()
    assert await done("try") == await done("once") * 2
    assert await pid_of("once") != first


async def test_a_job_that_kills_its_process_has_failed_after_its_tries(here: str, start_process: Start) -> None:
    for _ in range(3):
        start_process("work", here)
    await put(chores.die_of_it, "poison")
    await until_done("die", 3)
    start_process("work", here)
    await until_states("failed")
    assert await done("die") == ["poison"] * 3
    reason = await db.value("SELECT traceback ->> 'exception_message' FROM jobs.pgqueuer_log WHERE status = 'failed'")
    assert reason == "Its process died 3 times"


async def test_three_workers_that_are_killed_one_after_the_other_lose_and_double_nothing(here: str, start_process: Start) -> None:
    workers = [start_process("work", here) for _ in range(3)]
    words = [f"{number:03}" for number in range(rounds(60, 200))]
    for number, word in enumerate(words):
        await put(chores.write_quickly, word)
        if number % 20 == 10:
            workers.pop(0).kill()
            workers.append(start_process("work", here))
    await until_done("quick", len(words))
    await until_states()
    assert sorted(await done("quick")) == words


async def test_a_process_that_is_told_to_stop_ends_what_is_short_and_gives_back_the_rest(here: str, start_process: Start) -> None:
    first = start_process("work", here)
    await put(chores.wait_long, "long")
    await until_done("wait", 1)
    await put(chores.write_quickly, "short")
    await until_done("quick", 1)
    first.popen.terminate()
    await asyncio.to_thread(first.popen.wait, 20)
    row = await db.pool.fetchrow("SELECT status::text, attempts FROM jobs.pgqueuer")
    assert tuple(row) == ("queued", 0)
    assert await done("waited") == []
