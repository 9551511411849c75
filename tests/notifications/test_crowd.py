"""A crowd that listens: many streams of a real process, news all the time, the process killed in the middle; nothing is lost (N-11)."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from tests.journeys.processes import Process
from tests.notifications.feeds import ADD_MESSAGES, CONTENT
from tests.ports import find_free_ports
from tests.torture import report, rounds

from souk import app, users
from souk.app import Shop
from souk.kit.ids import new_id
from souk.notifications.database import db
from souk.users.settings import place, settings

CLIENTS, PER_S, SECONDS = rounds(150, 2_000), 200, rounds(6, 60)
MOST_RSS_KB = 50


class Ear:
    """A client that listens until it is told to stop, and comes back with the last id that it has heard."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.last: str | None = None
        self.heard: dict[str, float] = {}
        self.places: list[tuple[int, ...]] = []
        self.again = 0
        self.listening = asyncio.Event()

    async def listen_forever(self) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._listen()
            self.listening.clear()
            await asyncio.sleep(0.2)

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            resumed = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
            writer.write(f"GET /notifications/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n{resumed}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                return
            self.listening.set()
            while True:
                line = (await reader.readline()).rstrip()
                if line.startswith(b"id: "):
                    self.last = line[4:].decode()
                elif line.startswith(b"data: "):
                    self._take(msgspec.json.decode(line[6:])["id"])
                elif line == b"0" or reader.at_eof():
                    return
        finally:
            writer.close()

    def _take(self, one: str) -> None:
        assert self.last is not None
        if one in self.heard:
            self.again += 1
        else:
            self.heard[one] = time.monotonic()
            self.places.append(tuple(int(part) for part in self.last.split(".")))


class Crowd:
    """A shop of one process, and an edge before it; who listens at it."""

    def __init__(self, folder: Path, dsn: str, split: bool) -> None:
        ports = find_free_ports(3)
        common = {"SOUK_HOME": str(place.now.home), "SOUK_INTERNAL_SECRETS": secrets.token_hex(32), "DATABASE_URL": dsn}
        url = f"http://127.0.0.1:{ports[0]}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_")} | common
        shop = ["serve", "all", "--port", str(ports[0]), "--internal-port", str(ports[1])]
        self.processes = [Process("all", folder / "all.log", shop, environment, url)]
        if split:
            peers = {f"SOUK_PEER_{one.upper()}": f"http://127.0.0.1:{ports[1]}" for one in app.CONTEXTS}
            url, edge = f"http://127.0.0.1:{ports[2]}", ["serve", "edge", "--port", str(ports[2])]
            self.processes.append(Process("edge", folder / "edge.log", edge, environment | peers, url))
        self.port = int(url.rpartition(":")[2])

    @property
    def front(self) -> Process:
        return self.processes[-1]

    def start(self) -> None:
        for process in self.processes:
            if not process.runs:
                process.start()
        for process in self.processes:
            process.wait_until_ready()

    def rss_kb(self) -> int:
        status = Path(f"/proc/{self.front.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


@pytest.fixture
def cheap(tmp_path: Path) -> Iterator[None]:
    before, home = settings.now, place.now
    settings.replace(password_rounds=1, password_memory_kib=64)
    place.replace(home=tmp_path)
    yield
    settings.replace(**msgspec.structs.asdict(before))
    place.replace(**msgspec.structs.asdict(home))


async def make_tokens(count: int) -> dict[UUID, str]:
    """So many people, signed in."""
    found: dict[UUID, str] = {}
    for _ in range(count):
        wanted = users.Register(f"{new_id()}@example.com", "correct horse battery")
        made = await users.register_user(wanted, f"10.0.{secrets.randbelow(250)}.1")
        found[made.id] = made.access_token
    return found


async def send_news(readers: list[UUID], sent: dict[str, tuple[UUID, float]], seconds: float) -> None:
    """PER_S messages a second to anybody, for so long."""
    begin, count = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < seconds:
        due = int(passed * PER_S) - count
        if due > 0:
            chosen = [secrets.choice(readers) for _ in range(due)]
            ids = [new_id() for _ in chosen]
            async with db.transaction() as tx:
                await tx.run(ADD_MESSAGES, ids, chosen, "in_app", "order_shipped", CONTENT, None)
            now = time.monotonic()
            sent |= {str(one): (reader, now) for one, reader in zip(ids, chosen, strict=True)}
            count += due
        await asyncio.sleep(0.005)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("split", [False, True], ids=["one", "edge"])
async def test_a_crowd_hears_everything_once_and_in_order(shop: Shop, dsn: str, tmp_path: Path, *, split: bool) -> None:
    settings.replace(attempts=1_000_000)
    tokens = await make_tokens(CLIENTS)
    crowd = Crowd(tmp_path, dsn, split)
    crowd.start()
    ears = {reader: Ear(crowd.port, token) for reader, token in tokens.items()}
    tasks = []
    try:
        warm = [Ear(crowd.port, next(iter(tokens.values()))) for _ in range(10)]
        for one in warm:
            with suppress(TimeoutError):
                await asyncio.wait_for(one.listen_forever(), 0.1)
        before_kb = crowd.rss_kb()
        tasks = [asyncio.create_task(one.listen_forever()) for one in ears.values()]
        await asyncio.wait_for(asyncio.gather(*(one.listening.wait() for one in ears.values())), 60)
        per_client_kb = (crowd.rss_kb() - before_kb) / CLIENTS
        sent: dict[str, tuple[UUID, float]] = {}
        await send_news(list(ears), sent, SECONDS)
        calm = set(sent)
        sending = asyncio.create_task(send_news(list(ears), sent, 4))
        await asyncio.sleep(1)
        crowd.front.kill()
        await asyncio.sleep(0.5)
        crowd.start()
        await sending
        await wait_until_heard(ears, sent)
        busy_kb = (crowd.rss_kb() - before_kb) / CLIENTS
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in reversed(crowd.processes):
            if process.runs:
                process.send(15)
        codes = [process.wait() for process in crowd.processes]
    assert codes == [0] * len(codes)
    lost = [one for one, (reader, _) in sent.items() if one not in ears[reader].heard]
    strangers = [one for reader, ear in ears.items() for one in ear.heard if sent[one][0] != reader]
    assert (lost, strangers) == ([], [])
    assert all(ear.places == sorted(ear.places) for ear in ears.values())
    waits = sorted(ears[sent[one][0]].heard[one] - sent[one][1] for one in calm)
    p99_ms = waits[int(len(waits) * 0.99)] * 1000
    report(
        f"N-11-{'edge' if split else 'one'}.txt",
        f"N-11 ({'edge' if split else 'one process'}): {CLIENTS} clients, {len(sent)} events at {PER_S}/s, lost 0, again "
        f"{sum(ear.again for ear in ears.values())}; event to client p50 {waits[len(waits) // 2] * 1000:.0f} ms, p99 {p99_ms:.0f} ms; "
        f"{per_client_kb:.1f} kB per client when it has begun, {busy_kb:.1f} kB at the end",
    )
    assert per_client_kb < MOST_RSS_KB


async def wait_until_heard(ears: dict[UUID, Ear], sent: dict[str, tuple[UUID, float]]) -> None:
    """Return when everybody has heard all of theirs, or after a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while any(one not in ears[reader].heard for one, (reader, _) in sent.items()):  # noqa: ASYNC110  nobody tells us
                await asyncio.sleep(0.1)
