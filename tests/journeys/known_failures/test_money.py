"""What other shops charged, lost or gave back twice: their public failures with money, replayed against ours at two processes at once."""

import asyncio
import secrets
from typing import Any
from uuid import UUID

import pytest
from tests.journeys.client import Answer, Client, together
from tests.journeys.known_failures.conftest import Crowd, ids_of, order_as_guest, refusals_of
from tests.journeys.market import CARD, fill_cart, open_market, order
from tests.torture import TORTURE, rounds
from tests.waiting import until

from souk.kit.ids import new_id

pytestmark = pytest.mark.timeout(3600 if TORTURE else 300)

# When the gateway tells of its charge: shortly after its answer, before it, twice, late, instead of an answer, when the buyer has said yes.
HABITS = (
    "tok_visa",
    "tok_webhook_before_response",
    "tok_duplicate_webhook",
    "tok_webhook_late",
    "tok_500_charged",
    "tok_requires_action",
)


def usd(cents: int) -> dict[str, object]:
    return {"amount": cents, "currency": "USD"}


async def pay_by_card(buyer: Client, sku: str) -> dict[str, Any]:
    """An order that is placed."""
    placed: dict[str, Any] = (await order_as_guest(buyer, await fill_cart(buyer, sku))).ok
    assert placed["status"] == "placed"
    return placed


async def refund_together(crowd: Crowd, order_id: str, *cents: int | None) -> list[Answer]:
    """An admin gives these amounts back, each in a tab of its own; None is all that is left."""
    tabs = crowd.tabs(await crowd.shop.admin(), len(cents))
    asked = [{"reason": "replayed", **({} if amount is None else {"amount": usd(amount)})} for amount in cents]
    return await together(*(tab.post(f"/payments/{order_id}/refunds", body) for tab, body in zip(tabs, asked, strict=True)))


async def test_a_webhook_that_races_the_completion_captures_once_and_refunds_nothing(crowd: Crowd) -> None:
    """R7: saleor #12652, #14648, #19220, medusa #13301, #4798: it failed, doubled what was captured, or refunded good orders."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000))["sku"]
    for _ in range(rounds(2, 200)):
        buyers, ids = crowd.guests(len(HABITS)), [str(new_id()) for _ in HABITS]
        carts = [await fill_cart(buyer, sku) for buyer in buyers]
        await asyncio.gather(*(buy_while_it_is_told(crowd, *one) for one in zip(buyers, carts, ids, HABITS, strict=True)))
        for buyer, order_id in zip(buyers, ids, strict=True):
            await buyer.until(f"/orders/{order_id}", lambda answer: answer.ok["status"] != "draft")
        await crowd.settle()
        for buyer, order_id in zip(buyers, ids, strict=True):
            placed = (await buyer.get(f"/orders/{order_id}")).ok
            assert (placed["status"], placed["payment_status"]) == ("placed", "paid")
            payment = (await buyer.get(f"/payments/{order_id}")).ok
            assert (payment["captured"], payment["refunded"]) == (placed["total"], usd(0))
            assert [await crowd.count_facts("orders", kind, order_id) for kind in ("OrderPlaced", "OrderPaid")] == [1, 1]
            assert await crowd.count_facts("payments", "PaymentCaptured", order_id) == 1
        assert set(map(tuple, (await crowd.movements_of(*ids)).values())) == {(("capture", 1700),)}
    await crowd.check_books()


async def buy_while_it_is_told(crowd: Crowd, buyer: Client, cart_id: str, order_id: str, token: str) -> None:
    """Order in two tabs, and from the moment when the gateway knows of the charge have it told eight times, as two events."""
    way = {"method": "card", "token": token, "return_url": "http://127.0.0.1:9/back"}
    tabs = [order_as_guest(tab, cart_id, id=order_id, payment=way, key=order_id) for tab in crowd.tabs(buyer, 2)]
    ordering = asyncio.gather(*tabs)
    sale = await find_charge(crowd, order_id)
    if sale["redirect_url"]:
        await crowd.outside.visit(sale["redirect_url"], "approve")
        sale = await find_charge(crowd, order_id)
    events = (f"evt_{secrets.token_hex(8)}" for _ in range(2))
    for answers in await asyncio.gather(*(crowd.tell(sale, "charge.succeeded", event, copies=4) for event in events)):
        assert [answer.status for answer in answers] == [200] * 4
    assert [answer.ok["id"] for answer in await ordering] == [order_id] * 2


async def find_charge(crowd: Crowd, order_id: str) -> dict[str, Any]:
    """What the gateway knows of an order's first charge, as soon as it knows of it."""
    async with asyncio.timeout(10):
        while not (found := await crowd.outside.sales_of(UUID(order_id), UUID(order_id))):  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.002)
    charge: dict[str, Any] = found[0]
    return charge


async def test_amounts_that_are_reported_at_once_add_up(crowd: Crowd) -> None:
    """R8: saleor #19854: 7.00 and 11.00 were reported at the same moment, and the total was 7.00."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000, cents=9500))["sku"]
    for _ in range(rounds(2, 200)):
        buyers = crowd.guests(8)
        placed = [await pay_by_card(buyer, sku) for buyer in buyers]
        answers = await asyncio.gather(*(refund_together(crowd, one["id"], 700, 1100) for one in placed))
        assert [answer.status for both in answers for answer in both] == [201] * 16
        for buyer, one in zip(buyers, placed, strict=True):
            await buyer.until(f"/payments/{one['id']}", lambda answer: answer.ok["refunded"] == usd(1800))
            await buyer.until(f"/orders/{one['id']}", lambda answer: answer.ok["payment_status"] == "partially_refunded")
        for moved in (await crowd.movements_of(*(one["id"] for one in placed))).values():
            assert sorted(moved) == [("capture", 10_000), ("refund", 700), ("refund", 1100)]
    await crowd.check_books()


async def test_refunds_here_and_at_the_gateway_add_up(crowd: Crowd) -> None:
    """R8 once more: somebody refunds in the gateway's own pages, twice at once, while we do."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(100, cents=9500))["sku"]
    (buyer,) = crowd.guests(1)
    placed = await pay_by_card(buyer, sku)
    charge = await find_charge(crowd, placed["id"])
    elsewhere = (crowd.outside.ask("POST", f"/v1/charges/{charge['id']}/refunds", {"amount": cents}) for cents in (700, 1100))
    await asyncio.gather(refund_together(crowd, placed["id"], 300, 500), *elsewhere)
    await crowd.read_gateways()
    assert (await buyer.get(f"/payments/{placed['id']}")).ok["refunded"] == usd(2600)
    await buyer.until(f"/orders/{placed['id']}", lambda answer: answer.ok["payment_status"] == "partially_refunded")
    await crowd.check_books()


async def test_money_that_comes_a_second_time_goes_back_whole(crowd: Crowd) -> None:
    """R8 and R7 for two payments of one order: the buyer says yes in the app and pays by card at the same moment."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000))["sku"]
    for _ in range(rounds(1, 200)):
        buyers = crowd.guests(8)
        way = {"method": "redirect", "return_url": "http://127.0.0.1:9/back"}
        waiting = [(await order_as_guest(buyer, await fill_cart(buyer, sku), payment=way)).ok for buyer in buyers]
        # Of half of them the gateway says nothing until the card is charged: both bring money for certain.
        await crowd.outside.control(hold_webhooks=True)
        await asyncio.gather(*(crowd.outside.visit(one["next_action"]["redirect_url"], "approve") for one in waiting[:4]))
        by_card = ({**CARD, "order_id": one["id"]} for one in waiting)
        paid = asyncio.gather(*(buyer.post("/payments", body) for buyer, body in zip(buyers, by_card, strict=True)))
        await asyncio.gather(*(crowd.outside.visit(one["next_action"]["redirect_url"], "approve") for one in waiting[4:]))
        assert {answer.status for answer in await paid} == {201}
        await crowd.outside.control(hold_webhooks=False)
        for buyer, one in zip(buyers, waiting, strict=True):
            await buyer.until(f"/orders/{one['id']}", lambda answer: answer.ok["status"] == "placed")
            await until_balanced(crowd, one["id"], 1700)
            payment = (await buyer.get(f"/payments/{one['id']}")).ok
            assert (payment["captured"], payment["refunded"]) == (usd(1700), usd(0))
        twice = [moved for moved in (await crowd.movements_of(*(one["id"] for one in waiting))).values() if len(moved) > 1]
        assert len(twice) >= 4
        assert all(sorted(moved) == [("capture", 1700), ("capture", 1700), ("refund", 1700)] for moved in twice)
    await crowd.check_books()


async def until_balanced(crowd: Crowd, order_id: str, cents: int) -> None:
    """Return when the gateway has so much of an order."""

    async def is_balanced() -> bool:
        moved = (await crowd.movements_of(order_id))[order_id]
        return sum(amount if kind == "capture" else -amount for kind, amount in moved) == cents

    await until(is_balanced, within_s=60)


async def test_a_wallet_is_not_spent_in_two_tabs(crowd: Crowd) -> None:
    """R9: spree #11284, PR 13734: store credit and gift cards were overspent from two tabs."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000, cents=2500))["sku"]
    buyer, friend = await crowd.shop.buyer(), await crowd.shop.buyer()
    await deposit(friend, 1)
    sending = {"to_user_id": str(friend.id), "amount": usd(3000)}
    left = 0
    for _ in range(rounds(2, 200)):
        await deposit(buyer, 5000 - left)
        tabs = crowd.tabs(buyer, 16)
        carts = [await fill_cart(tab, sku) for tab in tabs[:8]]
        answers = await together(
            *(order(tab, cart_id, {"method": "wallet"}) for tab, cart_id in zip(tabs[:8], carts, strict=True)),
            *(tab.post("/wallet/transfers", sending) for tab in tabs[8:]),
        )
        ordered, sent = answers[:8], answers[8:]
        placed = [answer.ok for answer in ordered if answer.ok["status"] == "placed"]
        assert len(placed) + len(ids_of(sent)) == 1
        assert {answer.ok["payment"]["decline_code"] for answer in ordered if answer.ok["status"] == "draft"} == {"insufficient_funds"}
        assert refusals_of(sent) == {(409, "payments.insufficient_funds"): 8 - len(ids_of(sent))}
        left = await balance_of(buyer)
        assert left == 2000
    await crowd.check_books()


async def deposit(buyer: Client, cents: int) -> None:
    """Money comes into a wallet."""
    (await buyer.post("/wallet/deposits", {**CARD, "amount": usd(cents)}, Idempotency_Key=str(new_id()))).ok  # noqa: B018


async def balance_of(buyer: Client) -> int:
    (balance,) = (await buyer.get("/wallet")).ok["balances"]
    return int(balance["balance"]["amount"])


async def test_no_more_is_refunded_than_was_paid(crowd: Crowd) -> None:
    """R12: oscar #4580: more was refunded than had been paid. Here 32 give 60 % back at once, then 32 all that is left."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000, cents=9500))["sku"]
    for _ in range(rounds(2, 200)):
        (buyer,) = crowd.guests(1)
        placed = await pay_by_card(buyer, sku)
        answers = await refund_together(crowd, placed["id"], *[6000] * 32)
        assert len(ids_of(answers)) == 1
        assert refusals_of(answers) == {(409, "payments.refund_too_large"): 31}
        assert all(answer.body["refundable"] == usd(4000) for answer in answers if answer.status == 409)
        rest = await refund_together(crowd, placed["id"], *[None] * 32)
        assert len(ids_of(rest)) == 1
        assert refusals_of(rest) == {(409, "payments.refund_too_large"): 31}
        await buyer.until(f"/payments/{placed['id']}", lambda answer: answer.ok["refunded"] == usd(10_000))
        moved = (await crowd.movements_of(placed["id"]))[placed["id"]]
        assert sorted(moved) == [("capture", 10_000), ("refund", 4000), ("refund", 6000)]
    await crowd.check_books()


async def test_an_order_is_confirmed_once_whatever_the_gateway_tells_again(crowd: Crowd) -> None:
    """R16: mollie/magento2 #1047: a second confirmation was mailed, and the webhook of a refund mailed it once more.

    No mail is sent yet; the facts for which they will be sent stand in the outbox once.
    """
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000))["sku"]
    for _ in range(rounds(1, 200)):
        (buyer,) = crowd.guests(1)
        cart_id = await fill_cart(buyer, sku)
        placed = (await order_as_guest(buyer, cart_id, key=cart_id)).ok
        await tell_again(crowd, placed["id"], "charge.succeeded")
        again = await together(*(order_as_guest(tab, cart_id, key=cart_id) for tab in crowd.tabs(buyer, 8)))
        assert {answer.ok["id"] for answer in again} == {placed["id"]}
        assert [answer.status for answer in await refund_together(crowd, placed["id"], 500)] == [201]
        await tell_again(crowd, placed["id"], "charge.refunded", "charge.succeeded")
        await buyer.until(f"/orders/{placed['id']}", lambda answer: answer.ok["payment_status"] == "partially_refunded")
        await crowd.settle()
        facts = {"OrderPlaced": "orders", "OrderPaid": "orders", "PaymentCaptured": "payments", "PaymentRefunded": "payments"}
        assert [await crowd.count_facts(context, kind, placed["id"]) for kind, context in facts.items()] == [1] * 4
        timeline = (await buyer.get(f"/orders/{placed['id']}/timeline")).ok["items"]
        assert sorted(entry["type"] for entry in timeline) == ["placed", "refunded"]
    await crowd.check_books()


async def tell_again(crowd: Crowd, order_id: str, *kinds: str) -> None:
    """The gateway tells of its charge as it stands, as four new events of each kind, each four times, all at once."""
    sale = await find_charge(crowd, order_id)
    events = [(kind, f"evt_{secrets.token_hex(8)}") for kind in kinds for _ in range(4)]
    for answers in await asyncio.gather(*(crowd.tell(sale, kind, event, copies=4) for kind, event in events)):
        assert [answer.status for answer in answers] == [200] * 4
