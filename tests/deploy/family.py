"""The processes that another one has started, and which of them serve whom."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.waiting import until

ESTABLISHED = "01"


def children_of(parent: int) -> set[int]:
    """Those that a process has started and that have not ended."""
    file = Path(f"/proc/{parent}/task/{parent}/children")
    if not file.exists():
        pytest.skip("this system does not tell which processes belong to which")
    return {int(child) for child in file.read_text().split()}


def commands_of(parent: int) -> dict[int, list[str]]:
    """What the children of a process run."""
    found: dict[int, list[str]] = {}
    for child in children_of(parent):
        try:
            found[child] = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        except OSError:
            continue
    return found


def command_of(pid: int) -> str:
    """What a process runs, as everybody sees it."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def environment_of(pid: int) -> dict[str, str]:
    """What a process was told."""
    return dict(one.split("=", 1) for one in Path(f"/proc/{pid}/environ").read_text().split("\0") if one)


def serving(parent: int, part: str) -> set[int]:
    """The processes of a part."""
    return {child for child, command in commands_of(parent).items() if command[2:5] == ["souk", "serve", part]}


def count_connections(pid: int, port: int) -> int:
    """How many connections a process has accepted at a port."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[3] == ESTABLISHED and int(line[1].partition(":")[2], 16) == port}
    return sum(1 for file in Path(f"/proc/{pid}/fd").iterdir() if os.path.lexists(file) and read_link(file) in sockets)


def is_connected(pid: int, port: int) -> bool:
    """Whether a process has connected itself to a port of this machine."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[3] == ESTABLISHED and int(line[2].partition(":")[2], 16) == port}
    return any(read_link(file) in sockets for file in Path(f"/proc/{pid}/fd").iterdir())


def read_link(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:
        return ""


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and is only remembered does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


async def until_gone(pids: set[int], within_s: float = 30.0) -> None:
    """Return when none of them runs."""
    await until(soon(lambda: not any(map(is_there, pids))), within_s)


def soon(holds: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    """What `until` asks again and again."""

    async def look() -> bool:
        return holds()

    return look
