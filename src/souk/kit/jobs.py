"""Periodic jobs: sweepers that run in one process at a time, again and again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW
from souk.kit.errors import Unavailable
from souk.kit.telemetry import JOB_RUNS

log = logging.getLogger(__name__)

JOBS: dict[str, "Job"] = {}


class Job:
    """A function without arguments that is run every so many seconds and may be run at any time. It answers how much it did."""

    def __init__(self, function: Callable[[], Awaitable[int]], every_s: float) -> None:
        self.function = function
        self.every_s = every_s
        self.context = function.__module__.split(".")[1]
        self.path = f"{self.context}.{function.__name__}"
        if self.path in JOBS:
            raise TypeError(f"Two jobs are called {self.path}")
        JOBS[self.path] = self

    async def run_forever(self) -> None:
        """Run, wait, run again; a failure is logged and the next turn comes as usual."""
        set_caller(Caller(principal=SYSTEM, request_id=f"job:{self.path}"))
        while True:
            await self.run_once()
            await asyncio.sleep(self.every_s)

    async def run_once(self) -> None:
        try:
            done = await self.function()
        except (Unavailable, *NOT_NOW) as silence:
            JOB_RUNS.labels(self.path, "unavailable").inc()
            log.warning("job_interrupted", extra={"job": self.path, "reason": str(silence)})
        except Exception:
            JOB_RUNS.labels(self.path, "failed").inc()
            log.exception("job_failed", extra={"job": self.path})
        else:
            JOB_RUNS.labels(self.path, "done").inc()
            if done:
                log.info("job_done", extra={"job": self.path, "count": done})


def every(seconds: float) -> Callable[[Callable[[], Awaitable[int]]], Callable[[], Awaitable[int]]]:
    """Run this function every so many seconds in one process of the shop."""

    def register(function: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
        Job(function, seconds)
        return function

    return register
