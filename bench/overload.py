"""More than can be done: orders come at a multiple of what the shop can take, whether it keeps up or not (open loop).

Shop and PostgreSQL share one core, the generator has another, so that neither takes from the other.
"""

import asyncio
import os
import sys
import time
from collections import Counter, defaultdict, deque
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec
import uvloop

from bench import load
from bench.purchases import GET, ORDER, POST
from bench.shop import CURRENCY, Goods, Stock, filled, served
from souk import app, carts
from souk.kit.callers import Caller, Principal, asking

SHOP_CORE, GENERATOR_CORE = {0}, {1}
# Enough connections that one is free whenever a request is due.
CONNECTIONS = 1_500
BROWSING_PER_S = 50.0


class Window(msgspec.Struct, frozen=True):
    """What came of the orders of one phase. Latencies of those that were placed, in milliseconds."""

    asked_per_s: float
    placed_per_s: float
    shed_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    not_sent: int  # were due when no connection was free: the generator's fault, not the shop's
    generator_cpu: float  # of its core
    connections_lost: int
    pages_shed: float  # the share of the few product pages that were asked for beside


class Report(msgspec.Struct, frozen=True):
    """The most that the shop places a second, and what it does at multiples of that; seconds until all is as before."""

    peak_per_s: float
    before: Window
    twice: Window
    five_times: Window
    after: Window
    goodput_at_five_times: float
    back_to_normal_s: float


class Buyers:
    """Carts that are waiting to be ordered, with the tokens of their owners; one that was sent away comes again."""

    def __init__(self, orders: list[bytes]) -> None:
        self.waiting = deque(orders)

    def next(self) -> bytes:
        if not self.waiting:
            raise RuntimeError("There are no more carts: make more of them (--carts)")
        return self.waiting.popleft()


class Line(asyncio.Protocol):
    """A connection of the open loop: free, or with one request in flight."""

    def __init__(self, crowd: "Crowd") -> None:
        self.crowd = crowd
        self.pending = b""
        self.request = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write  # type: ignore[attr-defined]
        self.transport = transport
        self.crowd.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.lose(self)

    def ask(self, request: bytes, now: float) -> None:
        self.request, self.began = request, now
        self.write(request)

    def data_received(self, data: bytes) -> None:
        data = self.pending + data
        head = data.find(b"\r\n\r\n")
        at = data.lower().find(b"content-length: ", 0, head)
        if head < 0 or len(data) < head + 4 + int(data[at + 16 : data.index(b"\r", at + 16)]):
            self.pending = data
            return
        self.pending = b""
        self.crowd.take(self, int(data[9:12]), data[head + 4 :])


class Crowd:
    """Sends requests when they are due and keeps what came of them."""

    def __init__(
        self, port: int, buyers: Buyers, page: bytes, connections: int = CONNECTIONS, browsing_per_s: float = BROWSING_PER_S
    ) -> None:
        self.port = port
        self.connections = connections
        self.browsing_per_s = browsing_per_s
        self.open = True
        self.tasks: list[asyncio.Task[None]] = []
        self.buyers = buyers
        self.page = page
        self.free: deque[Line] = deque()
        self.idle = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        self.counts: Counter[str] = Counter()
        self.placed: list[tuple[float, float]] = []  # when, and after how long

    def take(self, line: Line, status: int, body: bytes) -> None:
        now = time.perf_counter()
        self.free.append(line)
        if len(self.free) == self.connections:
            self.idle.set()
        page = line.request is self.page
        if status == 503:
            self.counts["pages shed" if page else "shed"] += 1
            if not page:
                self.buyers.waiting.append(line.request)
        elif page:
            self.counts["pages"] += status == 200
        elif status == 201 and b'"status":"placed"' in body:
            self.counts["placed"] += 1
            self.placed.append((now, now - line.began))
        else:
            self.counts["errors"] += 1
            self.counts[f"{status} {body[:120]!r}"] += 1

    def lose(self, line: Line) -> None:
        """The shop has closed a connection; another takes its place."""
        if not self.open:
            return
        self.counts["connections lost"] += 1
        if line in self.free:
            self.free.remove(line)
        else:
            self.counts["errors"] += 1
        self.tasks.append(asyncio.create_task(self.connect()))

    async def connect_all(self) -> None:
        for _ in range(self.connections):
            await self.connect()

    def close(self) -> None:
        self.open = False
        for line in self.free:
            line.transport.close()

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: Line(self), "127.0.0.1", self.port)

    async def come(self, per_s: float, seconds: float) -> Window:
        """Orders at this rate, come what may."""
        self.reset()
        began, cpu = time.perf_counter(), time.process_time()
        due = pages_due = asked = 0
        while (now := time.perf_counter()) < began + seconds:
            due, pages_due = int((now - began) * per_s), int((now - began) * self.browsing_per_s)
            while asked < due:
                asked += 1
                self.send(self.buyers.next(), now)
            while self.counts["pages asked"] < pages_due:
                self.counts["pages asked"] += 1
                self.send(self.page, now)
            await asyncio.sleep(0.002)
        generator_cpu = (time.process_time() - cpu) / seconds
        with suppress(TimeoutError):
            await asyncio.wait_for(self.all_answered(), 30)
        counts, latencies = self.counts, [lasted_s for _, lasted_s in self.placed]
        for problem, count in counts.items():
            if problem[:1].isdigit():
                print(count, problem, file=sys.stderr)
        return Window(
            asked_per_s=round(asked / seconds, 1),
            placed_per_s=round(sum(when <= began + seconds for when, _ in self.placed) / seconds, 1),
            shed_per_s=round(counts["shed"] / seconds, 1),
            p50_ms=round(load.percentile(latencies, 0.5) * 1000, 1),
            p99_ms=round(load.percentile(latencies, 0.99) * 1000, 1),
            errors=counts["errors"],
            not_sent=counts["not sent"],
            generator_cpu=round(generator_cpu, 2),
            connections_lost=counts["connections lost"],
            pages_shed=round(counts["pages shed"] / max(counts["pages asked"], 1), 2),
        )

    async def all_answered(self) -> None:
        self.idle.clear()
        if len(self.free) < self.connections:
            await self.idle.wait()

    def send(self, request: bytes, now: float) -> None:
        if self.free:
            self.free.popleft().ask(request, now)
        elif request is not self.page:
            self.counts["not sent"] += 1
            self.buyers.waiting.append(request)


async def find_peak(port: int, buyers: Buyers, clients: int, seconds: float) -> float:
    """The most orders a second in a closed loop."""
    end = time.perf_counter() + seconds

    def order() -> load.Visitor:
        status, answer = yield buyers.next()
        return status == 201 and b'"status":"placed"' in answer

    tally = await load.run(port, clients, lambda: order() if time.perf_counter() < end else None)
    return len(tally.visits_s) / seconds


async def press(port: int, goods: Goods, orders: list[bytes], seconds: float) -> Report:
    """The peak; then half of it, twice, five times, and half of it again."""
    buyers = Buyers(orders)
    await find_peak(port, buyers, 64, seconds / 3)
    peak = max([await find_peak(port, buyers, clients, seconds / 2) for clients in (64, 128)])
    crowd = Crowd(port, buyers, GET % goods.product_ids[0].encode())
    await crowd.connect_all()
    before = await crowd.come(peak / 2, seconds / 2)
    twice = await crowd.come(peak * 2, seconds)
    five_times = await crowd.come(peak * 5, seconds)
    ended = time.perf_counter()
    after = await crowd.come(peak / 2, seconds)
    back = find_normal(crowd.placed, ended, before.p99_ms / 1000)
    crowd.close()
    return Report(
        peak_per_s=round(peak, 1),
        before=before,
        twice=twice,
        five_times=five_times,
        after=after,
        goodput_at_five_times=round(five_times.placed_per_s / peak, 2),
        back_to_normal_s=back,
    )


def find_normal(placed: list[tuple[float, float]], since: float, usual_p99_s: float) -> float:
    """Seconds until the p99 of orders was at most twice the usual one, and stayed so for three seconds: that they are slow for a moment
    when rows are vacuumed, on the one core that all share, is no effect of the overload."""
    by_second: defaultdict[int, list[float]] = defaultdict(list)
    for when, lasted_s in placed:
        by_second[int(when - since)].append(lasted_s)
    normal = {second for second, lasted in by_second.items() if load.percentile(lasted, 0.99) <= 2 * usual_p99_s}
    found = (second for second in sorted(normal) if {second, second + 1, second + 2} <= normal)
    return float(next(found, max(by_second) + 1))


async def fill_carts(dsn: str, goods: Goods, count: int) -> list[bytes]:
    """Carts of one piece each, as requests to order them."""
    shop = app.read_shop(app.CONTEXTS, dsn)
    requests: list[bytes] = []
    async with app.at_work(shop):
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            requests += await asyncio.gather(*(fill_cart(goods, number) for number in numbers))
    return requests


async def fill_cart(goods: Goods, number: int) -> bytes:
    token = goods.tokens[number % len(goods.tokens)]
    owner = UUID(msgspec.json.decode(load.payload_of(token))["sub"])
    items = (carts.NewItem(goods.skus[number % len(goods.skus)], 1),)
    with asking(Caller(Principal("user", owner, ("buyer",)), request_id="bench")):
        cart = await carts.create_cart(carts.NewCart(currency=CURRENCY, items=items))
    body = ORDER % str(cart.id).encode()
    return POST % (b"/orders", token.encode(), len(body), body)


class Size(msgspec.Struct, frozen=True):
    """How large a run is."""

    products: int
    carts: int
    seconds: float


def measure(home: Path, size: Size, port: int) -> Report:
    """Fill a shop, serve it by one process on one core, and press."""
    os.sched_setaffinity(0, SHOP_CORE)
    with filled(home, Stock(size.products), 5_000) as (dsn, goods):
        orders = uvloop.run(fill_carts(dsn, goods, size.carts))
        with served(dsn, port, 1):
            os.sched_setaffinity(0, GENERATOR_CORE)
            return uvloop.run(press(port, goods, orders, size.seconds))
