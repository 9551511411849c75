"""Sweepers: what runs again and again, every so many seconds, in one process at a time, and does whatever is due by then.

What runs at a time of day is a schedule (schedules.py); what is to be done once, for something that happened, is a job (queue.py).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW
from souk.kit.errors import Unavailable
from souk.kit.telemetry import JOB_RUNS, SWEEPER_FAILURES

log = logging.getLogger(__name__)

SWEEPERS: dict[str, "Sweeper"] = {}


class Run(msgspec.Struct, frozen=True):
    """How a sweeper fared."""

    begun_at: datetime
    lasted_ms: int
    outcome: str
    count: int


class Sweeper:
    """A function without arguments that is run every so many seconds and may be run at any time. It answers how much it did."""

    def __init__(self, function: Callable[[], Awaitable[int]], every_s: float) -> None:
        self.function = function
        self.every_s = every_s
        self.context = function.__module__.split(".")[1]
        self.path = f"{self.context}.{function.__name__}"
        self.last: Run | None = None
        if self.path in SWEEPERS:
            raise TypeError(f"Two sweepers are called {self.path}")
        SWEEPERS[self.path] = self

    async def run_forever(self) -> None:
        """Run, wait, run again; a failure is logged and the next turn comes as usual."""
        set_caller(Caller(principal=SYSTEM, request_id=f"job:{self.path}"))
        while True:
            begun_at, begun = datetime.now(UTC), asyncio.get_running_loop().time()
            outcome, count = await self.run_once()
            lasted_s = asyncio.get_running_loop().time() - begun
            self.last = Run(begun_at, round(lasted_s * 1000), outcome, count)
            await asyncio.sleep(self.every_s)

    async def run_once(self) -> tuple[str, int]:
        """How it ended, and how much it did."""
        outcome, count = "done", 0
        try:
            count = await self.function()
        except (Unavailable, *NOT_NOW) as silence:
            outcome = "unavailable"
            log.warning("job_interrupted", extra={"job": self.path, "reason": str(silence)})
        except Exception:
            outcome = "failed"
            log.exception("job_failed", extra={"job": self.path})
        JOB_RUNS.labels(self.path, outcome).inc()
        if outcome == "failed":
            SWEEPER_FAILURES.labels(self.path).inc()
        elif outcome == "done":
            SWEEPER_FAILURES.labels(self.path).set(0)
        if count:
            log.info("job_done", extra={"job": self.path, "count": count})
        return outcome, count


def every(seconds: float) -> Callable[[Callable[[], Awaitable[int]]], Callable[[], Awaitable[int]]]:
    """Run this function every so many seconds in one process of the shop."""

    def register(function: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
        Sweeper(function, seconds)
        return function

    return register
