"""Ports of this machine that nobody uses now."""

import socket


def find_free_port() -> int:
    """A free port on the loopback; another program may take it before we do, as with any such answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
