"""The routes of the buyer's browser: a payment is looked at, approved or refused, and the buyer is sent back to the shop."""

import sqlite3
from functools import partial

from litestar import MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from souk.sandbox.behaviours import Behaviour
from souk.sandbox.charges import approve_charge, read_charge, refuse_charge
from souk.sandbox.checkouts import approve_checkout, find_row, read_checkout, refuse_checkout
from souk.sandbox.pages import page_of
from souk.sandbox.types import Charge, Checkout
from souk.sandbox.webhooks import Outbox
from souk.sandbox.world import World

AGREED = frozenset({"succeeded", "authorized"})
REFUSED = frozenset({"refused", "declined"})
# The page takes no script and no foreign content, and no shop may frame it under a buyer's click.
HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'", "cache-control": "no-store"}


@get("/pay/{payment_id:str}")
async def get_payment(world: NamedDependency[World], payment_id: FromPath[str]) -> Response[str]:
    return page(await world.writer.write(partial(read_payment, payment_id=payment_id)))


@post("/pay/{payment_id:str}/approve")
async def post_approval(world: NamedDependency[World], payment_id: FromPath[str]) -> Response[str]:
    payment = await settle(world, payment_id, approved=True)
    return back_to_shop(payment, payment.status in AGREED)


@post("/pay/{payment_id:str}/refuse")
async def post_refusal(world: NamedDependency[World], payment_id: FromPath[str]) -> Response[str]:
    payment = await settle(world, payment_id, approved=False)
    return back_to_shop(payment, payment.status in REFUSED)


async def settle(world: World, payment_id: str, approved: bool) -> Charge | Checkout:
    work = partial(decide_payment, outbox=world.outbox, payment_id=payment_id, approved=approved)
    payment, told_first = await world.writer.write(work)
    world.wake()
    await world.wait_until_tried(told_first)
    return payment


def decide_payment(db: sqlite3.Connection, outbox: Outbox, payment_id: str, approved: bool) -> tuple[Charge | Checkout, tuple[int, ...]]:
    """Answer the payment, and the webhooks that must be at the shop before the buyer is."""
    if payment_id.startswith("ch_"):
        charge, _ = (approve_charge if approved else refuse_charge)(db, outbox, payment_id)
        return charge, ()
    habit = find_row(db, payment_id).behaviour
    checkout, deliveries = (approve_checkout if approved else refuse_checkout)(db, outbox, payment_id)
    return checkout, deliveries if habit is Behaviour.WEBHOOK_BEFORE_RESPONSE else ()


def read_payment(db: sqlite3.Connection, payment_id: str) -> Charge | Checkout:
    return read_charge(db, payment_id) if payment_id.startswith("ch_") else read_checkout(db, payment_id)


def back_to_shop(payment: Charge | Checkout, as_asked: bool) -> Response[str]:
    """A buyer whose wish came too late, or who has nowhere to go back to, stays and reads what became of the payment."""
    if as_asked and payment.return_url:
        return Response("", status_code=303, headers={**HEADERS, "location": payment.return_url}, media_type=MediaType.HTML)
    return page(payment, 200 if as_asked else 409)


def page(payment: Charge | Checkout, status: int = 200) -> Response[str]:
    return Response(page_of(payment), status_code=status, headers=HEADERS, media_type=MediaType.HTML)


ROUTES = (get_payment, post_approval, post_refusal)
