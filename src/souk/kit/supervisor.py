"""Worker processes: started together, started again when one dies, stopped together."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

STOP_WITHIN_S = 15.0


async def supervise(arguments: Sequence[str], count: int, environment: Mapping[str, str], stopping: asyncio.Event) -> None:
    """Run `count` processes of `souk ARGUMENTS` until `stopping`; one that ends by itself is started again, later each time."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    workers = [asyncio.create_task(_keep_alive(arguments, environment, stopping)) for _ in range(count)]
    await stopping.wait()
    await asyncio.gather(*workers)


async def _keep_alive(arguments: Sequence[str], environment: Mapping[str, str], stopping: asyncio.Event) -> None:
    pause_s = 0.1
    while not stopping.is_set():
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "souk", *arguments, env={**os.environ, **environment}, start_new_session=True
        )
        ended = asyncio.create_task(worker.wait())
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if stopping.is_set():
            await _stop(worker, ended)
            return
        log.error("worker_died", extra={"pid": worker.pid, "code": worker.returncode})
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, 5.0)


async def _stop(worker: asyncio.subprocess.Process, ended: "asyncio.Task[int]") -> None:
    if worker.returncode is None:
        worker.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await asyncio.shield(ended)
    except TimeoutError:
        worker.kill()
        await ended
