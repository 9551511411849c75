"""Every place at which the server can die while it places an order: each commit, publication, call and answer, one after another."""

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.crashes.books import captures_of
from tests.crashes.conftest import RECOVERS_WITHIN_S, Victim
from tests.journeys.client import Answer, Client
from tests.journeys.market import fill_cart, open_market, order
from tests.torture import TORTURE, report
from tests.waiting import until

SAMPLE = 7
DIES_WITHIN_S = 8.0

Ask = Callable[[], Awaitable[Answer]]
Prepare = Callable[[Victim, Client, str], Awaitable[Ask]]


class Case(msgspec.Struct, frozen=True):
    """What is asked of the shop when it dies, and what an order is when that is done."""

    prepare: Prepare
    becomes: str
    sku: str


class Row(msgspec.Struct, frozen=True):
    """What became of the order during which the server died at a place."""

    number: int
    place: str
    repeated: bool
    outcome: str
    seconds: float
    faults: Sequence[str] = ()

    def show(self) -> str:
        how = "the buyer asks again" if self.repeated else "nobody asks again"
        return f"| {self.number} | {self.place} | {how} | {self.outcome} | {self.seconds:.1f} |"


async def to_order(victim: Victim, buyer: Client, sku: str) -> Ask:
    """A cart that is to be ordered."""
    cart_id = await fill_cart(buyer, sku, 2)
    return lambda: order(buyer, cart_id, key=cart_id, coupon="TEN")


async def to_cancel(victim: Victim, buyer: Client, sku: str) -> Ask:
    """An order that is to be canceled, and refunded."""
    placed = (await order(buyer, await fill_cart(buyer, sku, 2), coupon="TEN")).ok
    await asyncio.sleep(0.5)  # for the webhook of the charge
    await victim.rest()
    return lambda: buyer.post(f"/orders/{placed['id']}/cancel", {"reason": "changed my mind"}, Idempotency_Key=placed["id"])


async def learn_places(victim: Victim, ask: Ask) -> list[str]:
    """Do it once in peace and write down what it passes."""
    points = victim.home / "crash-points"
    await asyncio.sleep(0.2)  # what was answered a moment ago is through
    points.unlink(missing_ok=True)
    victim.plan.write_text("record")
    assert (await ask()).status < 300
    await asyncio.sleep(1.0)
    await victim.rest()
    victim.plan.unlink()
    return points.read_text().splitlines()


async def die(victim: Victim, ask: Ask, place: str) -> Answer | None:
    """Ask, and be there when the server dies at this place; the answer, if the buyer got one before."""
    await asyncio.sleep(0.1)
    victim.plan.write_text(place)
    asked = asyncio.create_task(ask())
    end = time.monotonic() + DIES_WITHIN_S
    while victim.server.runs:
        assert time.monotonic() < end, f"the server never came to {place}"
        await asyncio.sleep(0.01)
    victim.plan.unlink()
    try:
        return await asked
    except (aiohttp.ClientError, OSError):
        return None


async def ask_again(ask: Ask) -> Answer:
    """The same request, with the same key, until there is an answer."""
    answers: list[Answer] = []

    async def answered() -> bool:
        answers[:] = [await ask()]
        return answers[0].status != 503

    await until(answered)
    return answers[0]


async def try_place(victim: Victim, case: Case, number: int, place: str, again: bool) -> Row:
    """Die at a place, come back, and see what became of the order."""
    buyer = await victim.buyer()
    ask = await case.prepare(victim, buyer, case.sku)
    answer = await die(victim, ask, place)
    began = await victim.start()
    if again:
        answer = await ask_again(ask)
        assert answer.ok["status"] == case.becomes, answer
    seconds = await victim.rest() - began
    await victim.expire()
    await victim.rest()
    faults = await victim.find_faults()
    orders = (await buyer.get("/orders")).ok["items"]
    statuses = {one["id"]: one["status"] for one in orders}
    if answer is not None and statuses.get(answer.ok["id"]) != case.becomes:
        faults.append(f"{answer.asked} was acknowledged, and now there is {statuses}")
    if len([status for status in statuses.values() if status == "placed"]) > 1:
        faults.append("two orders of one request")
    book = await victim.outside.read_book()
    taken = [captures_of(book, order_id) for order_id in statuses]
    if any(count > 1 for count in taken):
        faults.append(f"charged {taken} times")
    return Row(number, place, again, describe(orders, sum(taken)), seconds, faults)


def describe(orders: list[dict[str, Any]], charged: int) -> str:
    if not orders:
        return "nothing was begun"
    status = orders[0]["status"]
    money = "not charged" if not charged else "charged once" if status == "placed" else "charged and refunded"
    return f"{status}, {money}"


def make_table(rows: list[Row]) -> str:
    times = sorted(row.seconds for row in rows)
    p50, p99 = (times[max(math.ceil(len(times) * part) - 1, 0)] for part in (0.5, 0.99))
    lines = [
        f"Died {len(rows)} times; from the start of the process until at rest p50 {p50:.1f} s, p99 {p99:.1f} s, most {times[-1]:.1f} s.",
        "",
        "| k | where it died | then | outcome | seconds |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(row.show() for row in rows)])


@pytest.mark.timeout(3600 if TORTURE else 180)
@pytest.mark.parametrize(("prepare", "becomes"), [(to_order, "placed"), (to_cancel, "canceled")])
async def test_a_server_that_dies_anywhere_leaves_the_books_in_order(victim: Victim, prepare: Prepare, becomes: str) -> None:
    market = await open_market(victim)
    case = Case(prepare, becomes, (await market.put_on_sale(1000))["sku"])
    admin = await victim.admin()
    await admin.post("/coupons", {"name": "Ten", "kind": "percentage", "rate_ppm": 100_000, "code": "TEN"})
    places = list(enumerate(await learn_places(victim, await prepare(victim, await victim.buyer(), case.sku)), 1))
    chosen = places if TORTURE else places[secrets.randbelow(SAMPLE) :: SAMPLE]
    rows = [
        await try_place(victim, case, number, place, again)
        for number, place in chosen
        for again in ((True, False) if TORTURE else (number % 2 == 1,))
    ]
    table = make_table(rows)
    report(f"crash-points-{becomes}.md", f"{len(places)} places; d{table[1:]}")
    assert [row for row in rows if row.faults] == []
    assert max(row.seconds for row in rows) < RECOVERS_WITHIN_S, table
