"""Ports of this machine that nobody uses now."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import cycle

# Below what Linux (32768) and others give to outgoing connections, of which a test opens thousands.
FIRST, BEYOND = 20_000, 32_000


def walk_range(worker: int, workers: int) -> Iterator[int]:
    """One port after the other, forever: each worker of a run has a range of its own, and repeats none before it has given all."""
    size = (BEYOND - FIRST) // workers
    ours = range(FIRST + worker * size, FIRST + (worker + 1) * size)
    begin = secrets.randbelow(size)
    return cycle([*ours[begin:], *ours[:begin]])


_ports = walk_range(
    int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
)


def find_free_ports(count: int) -> list[int]:
    """Different free ports on the loopback; a program of somebody else may take one before we do, as with any such answer."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe, port = stack.enter_context(socket.socket()), next(_ports)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return found


def find_free_port() -> int:
    """One of them."""
    return find_free_ports(1)[0]
