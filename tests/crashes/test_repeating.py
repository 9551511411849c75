"""The same request once more, by many at the same instant, or after its line was cut: one effect."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from tests.crashes.conftest import Victim
from tests.crashes.shoppers import insist
from tests.journeys.client import Answer, Client, together
from tests.journeys.market import ADDRESS, CARD, Market, fill_cart, open_market, order
from tests.torture import TORTURE, rounds

from souk.kit.ids import new_id

TWINS = 32
DEPOSIT = {"amount": {"amount": 5000, "currency": "USD"}, **CARD}


class Write(msgspec.Struct, frozen=True):
    """A request that moves money or stock, the same with another body, and how its effects are counted."""

    client: Client
    path: str
    body: dict[str, Any]
    other: dict[str, Any]
    count: str
    of: str


Make = Callable[[Victim, Market, str], Awaitable[Write]]


async def place(victim: Victim, market: Market, sku: str) -> Write:
    buyer = await victim.buyer()
    cart_id = await fill_cart(buyer, sku)
    body = {"cart_id": cart_id, "shipping_address": ADDRESS, "payment": CARD}
    return Write(buyer, "/orders", body, body | {"note": "another"}, "SELECT count(*) FROM orders.orders WHERE cart_id = $1", cart_id)


async def pay(victim: Victim, market: Market, sku: str) -> Write:
    buyer = await victim.buyer()
    waiting = (await order(buyer, await fill_cart(buyer, sku), payment=None)).ok
    body = {"order_id": waiting["id"], **CARD}
    count = "SELECT count(*) FROM payments.attempt WHERE payment_id = $1"
    return Write(buyer, "/payments", body, body | {"token": "tok_declined"}, count, waiting["id"])


async def refund(victim: Victim, market: Market, sku: str) -> Write:
    buyer = await victim.buyer()
    placed = (await order(buyer, await fill_cart(buyer, sku))).ok
    body = {"reason": "broken", "amount": {"amount": 100, "currency": "USD"}}
    count = "SELECT count(*) FROM payments.refund WHERE payment_id = $1"
    return Write(await victim.admin(), f"/payments/{placed['id']}/refunds", body, body | {"reason": "late"}, count, placed["id"])


async def deposit(victim: Victim, market: Market, sku: str) -> Write:
    buyer = await victim.buyer()
    body = DEPOSIT
    other = body | {"amount": {"amount": 5001, "currency": "USD"}}
    return Write(buyer, "/wallet/deposits", body, other, "SELECT count(*) FROM payments.payment WHERE user_id = $1", buyer.user["id"])


async def send(victim: Victim, market: Market, sku: str) -> Write:
    buyer, friend = await victim.buyer(), await victim.buyer()
    for one in (buyer, friend):
        (await one.post("/wallet/deposits", DEPOSIT)).ok  # noqa: B018
    body = {"to_user_id": friend.user["id"], "amount": {"amount": 100, "currency": "USD"}}
    count = "SELECT count(*) - 1 FROM payments.transfer WHERE credit_id IN (SELECT id FROM payments.account WHERE owner = $1)"
    return Write(buyer, "/wallet/transfers", body, body | {"amount": {"amount": 101, "currency": "USD"}}, count, friend.user["id"])


async def receive(victim: Victim, market: Market, sku: str) -> Write:
    goods = await market.put_on_sale(1)
    body = {"kind": "receive", "sku": goods["sku"], "quantity": 5, "reason": "delivery"}
    count = "SELECT count(*) - 1 FROM inventory.movement WHERE sku = $1"
    return Write(market.seller, f"/stores/{market.store_id}/movements", body, body | {"quantity": 6}, count, goods["sku"])


async def fill(victim: Victim, market: Market, sku: str) -> Write:
    buyer = await victim.buyer()
    body = {"items": [{"sku": sku, "quantity": 1}]}
    other = {"items": [{"sku": sku, "quantity": 2}]}
    return Write(buyer, "/carts", body, other, "SELECT count(*) FROM carts.cart WHERE user_id = $1", buyer.user["id"])


WRITES = (place, pay, refund, deposit, send, receive, fill)


async def prepare(victim: Victim) -> tuple[Market, str]:
    """A seller with plenty of something."""
    market = await open_market(victim)
    return market, (await market.put_on_sale(1_000_000))["sku"]


async def count(victim: Victim, write: Write) -> int:
    """How many effects there are."""
    async with victim.database() as connection:
        return int(await connection.fetchval(write.count, write.of))


def told(answer: Answer) -> object:
    """What a request made, by its id if it has one."""
    return answer.ok.get("id", answer.content)


async def ask(write: Write, key: str, body: dict[str, Any] | None = None) -> Answer:
    return await write.client.post(write.path, body or write.body, Idempotency_Key=key)


@pytest.mark.parametrize("make", WRITES)
async def test_a_key_is_one_effect_one_answer_and_one_request(victim: Victim, make: Make) -> None:
    write = await make(victim, *await prepare(victim))
    key = str(new_id())
    first = told(await ask(write, key))
    for _ in range(3):
        assert told(await ask(write, key)) == first
    assert await count(victim, write) == 1
    refused = await ask(write, key, write.other)
    assert (refused.status, refused.code) == (422, "idempotency_key_reused")
    assert await count(victim, write) == 1


@pytest.mark.parametrize("make", WRITES)
async def test_twins_at_the_same_instant_have_one_effect(victim: Victim, make: Make) -> None:
    market, sku = await prepare(victim)
    for _ in range(rounds(1, 72)):
        write, key = await make(victim, market, sku), str(new_id())
        answers = await together(*(ask(write, key) for _ in range(TWINS)))
        assert {answer.status for answer in answers} <= {200, 201, 409}, answers
        assert len({told(answer) for answer in answers if answer.status < 300}) == 1
        assert await count(victim, write) == 1
    await victim.rest()
    await victim.expire()
    await victim.rest()
    assert await victim.find_faults() == []


async def test_a_key_is_its_owners_and_its_refusal_is_final(victim: Victim) -> None:
    _, sku = await prepare(victim)
    one, another, friend = await victim.buyer(), await victim.buyer(), await victim.buyer()
    key, body = str(new_id()), {"items": [{"sku": sku, "quantity": 1}]}
    carts = [(await client.post("/carts", body, Idempotency_Key=key)).ok["id"] for client in (one, another)]
    assert len(set(carts)) == 2
    (await friend.post("/wallet/deposits", DEPOSIT)).ok  # noqa: B018
    money = {"to_user_id": friend.user["id"], "amount": {"amount": 100, "currency": "USD"}}
    poor = await one.post("/wallet/transfers", money, Idempotency_Key="poor-but-honest")
    (await one.post("/wallet/deposits", DEPOSIT)).ok  # noqa: B018
    again = await one.post("/wallet/transfers", money, Idempotency_Key="poor-but-honest")
    assert (poor.status, poor.code) == (again.status, again.code) == (409, poor.code)


async def send_and_cut(victim: Victim, buyer: Client, body: bytes, key: str, sent: int | None, read: int) -> None:
    """Send so many bytes of an order (all of them: None), read so many of the answer, and cut the line."""
    head = f"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n"
    head += f"Authorization: {buyer.headers['Authorization']}\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", victim.processes.public["all"])
    whole = head.encode() + body
    writer.write(whole if sent is None else whole[: sent % len(whole)])
    await writer.drain()
    if read:
        with suppress(asyncio.IncompleteReadError):
            await reader.readexactly(read)
    writer.transport.abort()


async def test_a_line_that_is_cut_anywhere_leaves_one_order(victim: Victim) -> None:
    _, sku = await prepare(victim)
    dice = random.Random(9)
    buyers = [await victim.buyer() for _ in range(8)]

    async def cut(number: int) -> str:
        buyer = buyers[number % len(buyers)]
        cart_id, key = await fill_cart(buyer, sku), str(new_id())
        body = {"cart_id": cart_id, "shipping_address": ADDRESS, "payment": CARD}
        # In the head, in the body, behind it, in the answer's head, in its body; and once more while that is at work.
        sent, read = dice.choice([(dice.randrange(2000), 0), (None, 0), (None, 1), (None, 200), (None, 600)])
        await send_and_cut(victim, buyer, msgspec.json.encode(body), key, sent, read)
        await asyncio.sleep(dice.choice([0, 0, 0.005, 0.05]))
        placed = (await insist(buyer, "/orders", body, key)).ok
        assert placed["status"] == "placed", placed
        return str(placed["id"])

    placed: list[str] = []
    for start in range(0, rounds(40, 1000), 8):
        placed += await asyncio.gather(*(cut(start + place) for place in range(8)))
    assert len(set(placed)) == len(placed)
    await victim.rest()
    await victim.expire()
    await victim.rest()
    assert await victim.find_faults(*placed) == []


HABITS = (
    "visa",
    "declined",
    "500_charged",
    "timeout_charged",
    "timeout_not_charged",
    "duplicate_webhook",
    "webhook_before_response",
    "webhook_late",
    "out_of_order",
    "wrong_amount",
    "wrong_currency",
    "forged_signature",
)


@pytest.mark.timeout(3600 if TORTURE else 120)
async def test_whatever_the_processor_does_its_book_and_ours_agree(victim: Victim) -> None:
    _, sku = await prepare(victim)
    buyers = [await victim.buyer() for _ in range(4)]

    async def buy(number: int) -> str:
        buyer = buyers[number % len(buyers)]
        cart_id = await fill_cart(buyer, sku)
        habit = HABITS[number % len(HABITS)]
        return str((await order(buyer, cart_id, {"method": "card", "token": f"tok_{habit}"}, key=cart_id)).ok["id"])

    for _ in range(rounds(1, 25)):
        placed = await asyncio.gather(*(buy(number) for number in range(4 * len(HABITS))))
        assert len(set(placed)) == 4 * len(HABITS)
    await victim.rest()
    await victim.expire()
    await victim.rest()
    assert await victim.find_faults() == []
