"""Ports of this machine that nobody uses now."""

import socket
from contextlib import ExitStack


def find_free_ports(count: int) -> list[int]:
    """Different free ports on the loopback; another program may take one before we do, as with any such answer."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def find_free_port() -> int:
    """One of them."""
    return find_free_ports(1)[0]
