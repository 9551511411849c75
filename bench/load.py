"""A load generator in few instructions: connections that stay open, requests that are rendered by a generator function.

A visitor is a generator: it yields the bytes of a request and is sent the answer's status and body. Each connection runs one
visitor after the other (closed loop), so that `clients` is how many requests are in flight at most.
"""

import asyncio
import base64
import socket
import time
from collections import Counter
from collections.abc import Callable, Generator

Visitor = Generator[bytes, tuple[int, bytes], bool]


class Tally:
    """What was seen: visits that came to their end, how long each took, and every status."""

    def __init__(self) -> None:
        self.visits_s: list[float] = []
        self.requests = 0
        self.requests_s: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.failed = 0
        self.problems: Counter[bytes] = Counter()


class Connection(asyncio.Protocol):
    """One connection and the visitor who is on it."""

    def __init__(self, next_visitor: Callable[[], Visitor | None], tally: Tally, on_end: Callable[[], None]) -> None:
        self.next_visitor = next_visitor
        self.tally = tally
        self.on_end = on_end
        self.pending = b""
        self.visitor: Visitor | None = None
        self.began = self.asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.write = transport.write  # type: ignore[attr-defined]
        self.begin()

    def begin(self) -> None:
        self.visitor = self.next_visitor()
        if self.visitor is None:
            self.transport.close()
            return
        self.began = self.asked = time.perf_counter()
        self.write(next(self.visitor))

    def data_received(self, data: bytes) -> None:
        if self.pending:
            data = self.pending + data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self.pending = data
            return
        at = data.find(b"ontent-length: ", 0, head)
        if at < 0:
            at = data.find(b"ontent-Length: ", 0, head)
        length = int(data[at + 15 : data.index(b"\r", at + 15)]) if at >= 0 else 0
        if len(data) < head + 4 + length:
            self.pending = data
            return
        self.pending = b""
        status = int(data[9:12])
        tally = self.tally
        tally.requests += 1
        now = time.perf_counter()
        tally.requests_s.append(now - self.asked)
        self.asked = now
        tally.statuses[status] += 1
        if status >= 400:
            tally.problems[data[head + 4 :][:160]] += 1
        try:
            self.write(self.visitor.send((status, data[head + 4 :])))  # type: ignore[union-attr]
        except StopIteration as end:
            if end.value:
                tally.visits_s.append(now - self.began)
            else:
                tally.failed += 1
            if status == 503:
                # Sent away: a client comes again when it was told to (Retry-After).
                asyncio.get_running_loop().call_later(1.0, self.begin)
            else:
                self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_end()


async def run(port: int, clients: int, next_visitor: Callable[[], Visitor | None]) -> Tally:
    """Let visitors come over so many connections until there are no more."""
    loop = asyncio.get_running_loop()
    tally, ended = Tally(), asyncio.Event()
    left = clients

    def on_end() -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.set()

    for _ in range(clients):
        await loop.create_connection(lambda: Connection(next_visitor, tally, on_end), "127.0.0.1", port)
    await ended.wait()
    return tally


def payload_of(token: str) -> bytes:
    """What a token says, unchecked."""
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def wait_until_listening(port: int, within_s: float = 20.0) -> None:
    """Return when somebody listens there; raises TimeoutError."""
    end = time.monotonic() + within_s
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > end:
            raise TimeoutError(f"Nothing listens on port {port}")
        time.sleep(0.1)
