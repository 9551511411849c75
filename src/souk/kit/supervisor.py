"""Processes that are kept: started stage by stage, started again when one dies, stopped in the opposite order."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from souk.kit import launcher

log = logging.getLogger(__name__)

STOP_WITHIN_S = 15.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
# Who lived for so long was not ill from the beginning: it is started again at once.
WELL_AFTER_S = 30.0


@dataclass(frozen=True)
class Program:
    """A process to keep: what it is called, what runs, and its whole environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


async def _at_once() -> None:
    pass


@dataclass(frozen=True)
class Stage:
    """Programs that are started together. The next stage is started when `ready` returns, and stopped before this one."""

    programs: Sequence[Program]
    ready: Callable[[], Awaitable[None]] = field(default=_at_once)


def souk(*arguments: str) -> tuple[str, ...]:
    """The command that runs `souk ARGUMENTS`."""
    return (sys.executable, "-m", "souk", *arguments)


async def supervise(stages: Sequence[Stage], stopping: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run the programs of all stages until `stopping`; one that ends by itself is started again, later each time."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    begun: list[tuple[asyncio.Event, list[asyncio.Task[None]]]] = []
    for stage in stages:
        over = asyncio.Event()
        begun.append((over, [asyncio.create_task(_keep_alive(program, over)) for program in stage.programs]))
        await _first(stage.ready(), stopping.wait())
        if stopping.is_set():
            break
    else:
        on_ready()
    await stopping.wait()
    for over, keepers in reversed(begun):
        over.set()
        await asyncio.gather(*keepers)


async def _first(*work: Awaitable[object]) -> None:
    """Wait until one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_alive(program: Program, over: asyncio.Event) -> None:
    pause_s = SHORTEST_PAUSE_S
    while not over.is_set():
        began = monotonic()
        # The launcher ends it with us, however we end.
        command = (sys.executable, "-I", "-S", launcher.__file__, "self", str(os.getpid()), *program.command)
        try:
            worker = await asyncio.create_subprocess_exec(*command, env=program.environment, start_new_session=True)
        except OSError as full:
            # The machine has no room for one more process, or for its environment, at this moment.
            log.error("worker_not_started", extra={"program": program.name, "reason": str(full)})
        else:
            ended = asyncio.create_task(worker.wait())
            await _first(asyncio.shield(ended), over.wait())
            if over.is_set():
                await _stop(worker, ended)
                return
            log.error("worker_died", extra={"program": program.name, "pid": worker.pid, "code": worker.returncode})
        pause_s = SHORTEST_PAUSE_S if monotonic() - began > WELL_AFTER_S else pause_s
        await _first(asyncio.sleep(pause_s), over.wait())
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


async def _stop(worker: asyncio.subprocess.Process, ended: "asyncio.Task[int]") -> None:
    if worker.returncode is None:
        worker.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await asyncio.shield(ended)
    except TimeoutError:
        worker.kill()
        await ended
