"""Ports of this machine that nobody uses now."""

import secrets
import socket
from contextlib import ExitStack, suppress

# Below what Linux (32768) and others give to outgoing connections, of which a test opens thousands.
OURS = range(20_000, 32_000)


def find_free_ports(count: int) -> list[int]:
    """Different free ports on the loopback; another program may take one before we do, as with any such answer."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe, port = stack.enter_context(socket.socket()), secrets.choice(OURS)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return found


def find_free_port() -> int:
    """One of them."""
    return find_free_ports(1)[0]
