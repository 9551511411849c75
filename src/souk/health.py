"""Asks a process of this shop whether it can do its work, without loading it: python -m souk.health [URL]; exit code 0 if it can.

Without a URL it is the process of the same environment: its internal listener if it has one, or the public one. An orchestrator
asks every few seconds, so only what Python loads anyway is imported.
"""

import os
import socket
import sys

WITHIN_S = 5.0


def is_ready(url: str) -> bool:
    """Whether a process answers 200 there."""
    return ask(url).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))


def ask(url: str) -> bytes:
    """What it answers first, or why it does not."""
    place, _, path = url.removeprefix("http://").partition("/")
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), WITHIN_S) as connection:
            connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode("ascii"))
            return connection.recv(100).partition(b"\r\n")[0]
    except (OSError, ValueError) as silence:
        return str(silence).encode()


def find_url() -> str:
    """Where the process listens that was started with this environment."""
    internal = os.environ.get("SOUK_INTERNAL_PORT") or "0"
    if internal != "0":
        return f"http://127.0.0.1:{internal}/health"
    return f"http://127.0.0.1:{os.environ.get('SOUK_PORT') or '8000'}/health/ready"


def main(*urls: str) -> int:
    """The exit code; what is wrong stands on standard error."""
    for url in urls or (find_url(),):
        if not is_ready(url):
            sys.stderr.write(f"{url}: {ask(url).decode(errors='replace')}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
