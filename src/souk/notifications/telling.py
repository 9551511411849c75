"""What is told of a fact, and to whom: pure, one function for each context that announces."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from souk.carts.events import CartAbandoned
from souk.inventory.events import BackInStock, StockLow
from souk.kit.events import Delivered, Event
from souk.kit.ids import derive_id, moment_of
from souk.notifications.types import NOBODY, Content, Notice, RecipientKind
from souk.orders.events import (
    DigitalGoodsDelivered,
    ItemsCancelled,
    OrderCancelled,
    OrderPlaced,
    OrderRejected,
    ReturnApproved,
    ReturnClosed,
    ReturnReceived,
    ReturnRequested,
)
from souk.payments.events import PaymentRefunded, PayoutAccountChanged, PayoutFailed, PayoutSent, WalletCredited
from souk.reviews.events import ReviewPosted, ReviewRejected, ReviewReplied
from souk.shipping.events import ShipmentDelivered, ShipmentDispatched
from souk.users.events import (
    EmailVerificationRequested,
    PasswordResetRequested,
    SellerApplied,
    SellerApproved,
    SellerRejected,
    SellerSuspended,
    SessionsRevoked,
    UserRegistered,
)
from souk.webhooks.events import WebhookDisabled


class Pieces(Protocol):
    """So many pieces of a line of an order, in whichever event."""

    @property
    def line_id(self) -> UUID: ...

    @property
    def quantity(self) -> int: ...


class Tale(msgspec.Struct, frozen=True):
    """What is told, to whom, and what of it the fact itself says. Told once for the fact, or for what is named here instead."""

    kind: str
    recipient_kind: RecipientKind
    recipient_id: UUID
    content: Content
    once_for: UUID | None = None


# Facts of users that are told to the user, and of sellers that are told to the seller, with nothing more to say.
BARE: dict[type[Event], tuple[str, RecipientKind]] = {
    EmailVerificationRequested: ("verify_email", "user"),
    PasswordResetRequested: ("reset_password", "user"),
    SessionsRevoked: ("sessions_revoked", "user"),
    SellerApproved: ("seller_approved", "seller"),
    SellerRejected: ("seller_rejected", "seller"),
    SellerSuspended: ("seller_suspended", "seller"),
}


def tell_of_users(event: Event) -> Iterator[Tale]:
    """Accounts and applications. Who was imported did not ask for an account, and is not welcomed to it."""
    match event:
        case UserRegistered(imported=False):
            yield Tale("welcome", "user", event.user_id, {})
        case SellerApplied():
            yield Tale("seller_applied", "admins", NOBODY, {"seller_id": event.seller_id})
        case UserRegistered():
            return
        case _:
            kind, recipient = BARE[type(event)]
            yield Tale(kind, recipient, event.user_id if recipient == "user" else event.seller_id, {})  # type: ignore[attr-defined]


def tell_of_orders(event: Event) -> Iterator[Tale]:
    """Purchases, to their buyer and to each of their sellers; what sellers did themselves is not told to them.

    That an order is paid is told with that it is placed: here the one never comes without the other.
    """
    match event:
        case OrderPlaced():
            yield of_order("order_placed", event.order_id)
            for seller_id in dict.fromkeys(line.seller_id for line in event.lines):
                yield of_order("seller_order_placed", event.order_id, seller_id)
        case OrderRejected():
            yield of_order("order_rejected", event.order_id, why=event.reason)
        case OrderCancelled():
            yield of_order("order_cancelled", event.order_id, why=event.reason)
            for seller_id in event.seller_ids if event.reason != "seller" else ():
                yield of_order("seller_items_cancelled", event.order_id, seller_id)
        case ItemsCancelled():
            pieces = count_pieces(event.lines)
            yield of_order("items_cancelled", event.order_id, pieces=pieces, why=event.reason)
            for seller_id in dict.fromkeys(line.seller_id for line in event.lines if event.reason != "seller"):
                own = [piece for piece, line in zip(pieces, event.lines, strict=True) if line.seller_id == seller_id]
                yield of_order("seller_items_cancelled", event.order_id, seller_id, pieces=own)
        case ReturnRequested():
            pieces = count_pieces(event.lines)
            yield of_order("seller_return_requested", event.order_id, event.seller_id, pieces=pieces, return_id=event.return_id)
        case ReturnApproved():
            yield of_order("return_approved", event.order_id, return_id=event.return_id)
        case ReturnClosed(refused=True):
            yield of_order("return_refused", event.order_id, return_id=event.return_id)
        case ReturnReceived():
            pieces = count_pieces(event.lines)
            yield of_order("return_received", event.order_id, pieces=pieces, return_id=event.return_id)


def tell_of_parcels(event: Event) -> Iterator[Tale]:
    """Parcels that have left or arrived, to their buyer."""
    match event:
        case ShipmentDispatched():
            kind, parcel_id = "order_shipped", event.shipment_id
        case ShipmentDelivered():
            kind, parcel_id = "order_delivered", event.shipment_id
        case DigitalGoodsDelivered():
            kind, parcel_id = "order_delivered", event.parcel_id
        case _:
            return
    pieces = count_pieces(event.lines)
    yield of_order(kind, event.order_id, pieces=pieces, shipment_id=parcel_id)


def tell_of_money(event: Event) -> Iterator[Tale]:
    """Money that came back, came in or was paid out."""
    match event:
        case PaymentRefunded() if event.amount.amount:
            yield of_order("order_refunded", event.order_id, amount=event.amount)
        case WalletCredited():
            yield Tale("wallet_credited", "user", event.user_id, {"amount": event.amount})
        case PayoutSent():
            yield Tale("seller_payout_sent", "seller", event.seller_id, {"amount": event.amount})
        case PayoutFailed():
            yield Tale("seller_payout_failed", "seller", event.seller_id, {"amount": event.amount})
        case PayoutAccountChanged():
            content: Content = {"currency": event.currency, "payable_from": event.payable_from}
            yield Tale("seller_payout_account_changed", "seller", event.seller_id, content)


def tell_of_goods(event: Event) -> Iterator[Tale]:
    """Stock that runs out or is there again, and carts that were left."""
    match event:
        case StockLow():
            content: Content = {"sku": event.sku, "available": event.available, "store_id": event.store_id}
            yield Tale("seller_stock_low", "seller", event.seller_id, content)
        case BackInStock():
            for user_id in event.user_ids:
                yield Tale("back_in_stock", "user", user_id, {"product_id": event.product_id, "sku": event.sku})
        case CartAbandoned():
            lines = [{"sku": line.sku, "quantity": line.quantity} for line in event.lines]
            yield Tale("cart_abandoned", "user", event.user_id, {"cart_id": event.cart_id, "lines": lines})


def tell_of_reviews(event: Event) -> Iterator[Tale]:
    """What is said of goods and what their sellers answer: once, however often it is said in other words."""
    match event:
        case ReviewPosted():
            content: Content = {"product_id": event.product_id, "review_id": event.review_id, "rating": event.rating}
            yield Tale("seller_review_posted", "seller", event.seller_id, content, event.review_id)
        case ReviewReplied() if event.user_id is not None:
            content = {"product_id": event.product_id, "review_id": event.review_id}
            yield Tale("review_replied", "user", event.user_id, content, event.review_id)
        case ReviewRejected() if event.user_id is not None:
            yield Tale("review_rejected", "user", event.user_id, {"product_id": event.product_id, "review_id": event.review_id})


def tell_of_webhooks(event: Event) -> Iterator[Tale]:
    """Webhooks that were given up, to whom they belong: a seller, or the shop."""
    match event:
        case WebhookDisabled():
            recipient, whom = ("admins", NOBODY) if event.seller_id is None else ("seller", event.seller_id)
            yield Tale("webhook_disabled", recipient, whom, {"webhook_id": event.webhook_id, "why": event.reason})  # type: ignore[arg-type]


TELLERS: dict[Callable[[Event], Iterator[Tale]], tuple[type[Event], ...]] = {
    tell_of_users: (UserRegistered, SellerApplied, *BARE),
    tell_of_orders: (
        OrderPlaced, OrderRejected, OrderCancelled, ItemsCancelled, ReturnRequested, ReturnApproved, ReturnClosed, ReturnReceived,
    ),
    tell_of_parcels: (ShipmentDispatched, ShipmentDelivered, DigitalGoodsDelivered),
    tell_of_money: (PaymentRefunded, WalletCredited, PayoutSent, PayoutFailed, PayoutAccountChanged),
    tell_of_goods: (StockLow, BackInStock, CartAbandoned),
    tell_of_reviews: (ReviewPosted, ReviewReplied, ReviewRejected),
    tell_of_webhooks: (WebhookDisabled,),
}  # fmt: skip
TELLER_OF = {event: teller for teller, events in TELLERS.items() for event in events}
TOLD = tuple(TELLER_OF)


def find_notices(news: Delivered[Event]) -> tuple[Notice, ...]:
    """What is told of a fact: the same, with the same ids, whenever it is asked."""
    return tuple(make_notice(tale, news.event_id, news.occurred_at) for tale in TELLER_OF[type(news.event)](news.event))


def make_notice(tale: Tale, fact_id: UUID, occurred_at: datetime) -> Notice:
    """The notice whose id nothing else has that is told of this fact, or of what it is told once for."""
    # Told once for something older than the fact: then its time counts, for a later fact about it would have another.
    key, moment = (fact_id, occurred_at) if tale.once_for is None else (tale.once_for, moment_of(tale.once_for))
    notice_id = derive_id(moment, f"{key}/{tale.kind}/{tale.recipient_kind}/{tale.recipient_id}")
    return Notice(notice_id, tale.kind, key, tale.recipient_kind, tale.recipient_id, tale.content, occurred_at)


def of_order(kind: str, order_id: UUID, seller_id: UUID | None = None, **content: object) -> Tale:
    """Something about an order, to its buyer or to one of its sellers."""
    if seller_id is None:
        return Tale(kind, "order", order_id, {"order_id": order_id, **content})
    return Tale(kind, "seller", seller_id, {"order_id": order_id, "seller_id": seller_id, **content})


def count_pieces(lines: Sequence[Pieces]) -> list[Content]:
    return [{"line_id": line.line_id, "quantity": line.quantity} for line in lines]
