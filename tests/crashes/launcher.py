"""`souk` with numbered places at which it dies: python -m tests.crashes.launcher ARGUMENTS, for the tests of crashes only.

What the file SOUK_HOME/crash-plan says decides: nothing or no file, the shop runs as always; "record", each place that is
reached is written down in SOUK_HOME/crash-points; the name of a place, and the process kills itself there. The product knows
nothing of this: its commits, its outbox, its calls to gateways and its answers are wrapped from outside before it is loaded.
"""

import os
import re
import signal
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from asyncpg.transaction import Transaction

from souk.kit import db, events, front

HOME = Path(os.environ["SOUK_HOME"])
PLAN, POINTS = HOME / "crash-plan", HOME / "crash-points"
# What runs by the clock reaches its places at any time: they belong to no order.
BY_THE_CLOCK = (
    "souk.kit.jobs", "souk.kit.worker", "souk.kit.schedules", "souk.kit.workload", "souk.kit.housekeeping", "souk.kit.migrations",
    "souk.kit.partitions", "souk.kit.deadletters",
)  # fmt: skip
IDLE = ("_find_position", "_save_now_and_then")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/)(ch|co)_[0-9a-f]+|\?.*")

_seen: Counter[str] = Counter()
_plans: list[str] = []
plain: dict[str, Any] = {}


def reach(where: str) -> None:
    """A place is reached: write it down, die, or go on."""
    try:
        plan = PLAN.read_text()
    except FileNotFoundError:
        _plans.clear()
        return
    if _plans != [plan]:
        _seen.clear()
        _plans[:] = [plan]
    _seen[where] += 1
    name = f"{where} #{_seen[where]}"
    if plan == "record":
        with POINTS.open("a") as file:
            file.write(name + "\n")
    elif plan == name:
        os.kill(os.getpid(), signal.SIGKILL)


def find_author(frame: FrameType | None) -> str | None:
    """Which function of a context, or which consumer, is at work in this stack; None for what belongs to no order."""
    author = None
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module in BY_THE_CLOCK or function in IDLE:
            return None
        if author is None and module == "souk.kit.delivery" and function in ("_apply", "_apply_by_calling"):
            author = f"consumer {frame.f_locals['self'].consumer.path}"
        if author is None and module.startswith("souk.") and not module.startswith("souk.kit."):
            author = f"{module.removeprefix('souk.')}.{function}"
        frame = frame.f_back
    return author


async def leave_transaction(self: Transaction, kind: type[BaseException] | None, *more: Any) -> None:
    """The end of a transaction: before COMMIT is sent, and after it was answered."""
    author = None if kind or self._nested or self._readonly else find_author(sys._getframe(1))
    if author:
        reach(f"{author}: before commit")
    await plain["leave"](self, kind, *more)
    if author:
        reach(f"{author}: after commit")


async def write(self: db.Database, kind: type[Any], sql: str, *values: Any) -> tuple[Any, ...]:
    """A statement that is a transaction of its own."""
    author = find_author(sys._getframe(1))
    if author:
        reach(f"{author}: before commit")
    rows: tuple[Any, ...] = await plain["write"](self, kind, sql, *values)
    if author:
        reach(f"{author}: after commit")
    return rows


async def publish(tx: db.Transaction, *news: events.Event) -> None:
    """The outbox: written, and not committed yet."""
    author = find_author(sys._getframe(1)) if news else None
    await plain["publish"](tx, *news)
    if author:
        reach(f"{author}: published {', '.join(dict.fromkeys(type(one).__name__ for one in news))}")


async def ask(self: Any, method: str, path: str, *more: Any) -> Any:
    """A gateway: before the call leaves, and after its answer came."""
    where = f"gateway {method} {ID.sub('', path)}"
    wanted = find_author(sys._getframe(1)) is not None
    if wanted:
        reach(f"{where}: before the call")
    answer = await plain["ask"](self, method, path, *more)
    if wanted:
        reach(f"{where}: after the answer")
    return answer


async def answer_request(self: front.Front, scope: Any, receive: Any, send: Any) -> None:
    """Whoever asked over HTTP, the buyer or the processor with a webhook: before the answer, and after it."""
    if scope["type"] != "http" or scope["method"] == "GET":
        await plain["answer"](self, scope, receive, send)
        return
    where = f"http {scope['method']} {ID.sub('', scope['path'])}"

    async def tell(message: Any) -> None:
        if message["type"] == "http.response.start":
            reach(f"{where}: before the answer")
        await send(message)

    await plain["answer"](self, scope, receive, tell)
    reach(f"{where}: after the answer")


def wrap() -> None:
    """Put ours around theirs. The outbox comes first, for contexts take what stands there when they are loaded."""
    plain["publish"], events.publish = events.publish, publish  # type: ignore[assignment]
    plain["leave"], Transaction.__aexit__ = Transaction.__aexit__, leave_transaction
    plain["write"], db.Database.write = db.Database.write, write  # type: ignore[method-assign]
    plain["answer"], front.Front.__call__ = front.Front.__call__, answer_request  # type: ignore[method-assign]
    line = import_module("souk.payments.gateways.line").Line
    plain["ask"], line.ask = line.ask, ask


if __name__ == "__main__":
    wrap()
    import_module("souk.__main__").main()
