"""Every fact that people are told of is told to whom it concerns, under the same ids whenever it is told."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.notifications.tidings import told

from souk.inventory.events import BackInStock
from souk.kit.events import Event
from souk.kit.ids import moment_of, new_id
from souk.kit.money import Money
from souk.notifications.telling import TOLD, find_notices
from souk.notifications.topics import KINDS
from souk.notifications.types import NOBODY
from souk.orders.events import (
    CanceledLine,
    DeliveredLine,
    DigitalGoodsDelivered,
    ItemsCancelled,
    OrderCancelled,
    OrderedLine,
    OrderPlaced,
    OrderRejected,
    ReturnApproved,
    ReturnClosed,
    ReturnedPieces,
    ReturnReceived,
    ReturnRequested,
)
from souk.payments.events import PaymentRefunded, PayoutAccountChanged, PayoutFailed, PayoutSent, WalletCredited
from souk.reviews.events import ReviewPosted, ReviewRejected, ReviewReplied
from souk.shipping.events import ShipmentDelivered, ShipmentDispatched, ShippedLine
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

ADA, BEN, ONE, TWO, ORDER, THING = (new_id() for _ in range(6))
NOW = datetime(2026, 5, 6, 12, 34, tzinfo=UTC)
USD = Money(1200, "USD")
ZERO = Money(0, "USD")
BUYER, OF_ONE, OF_TWO = ("order", ORDER), ("seller", ONE), ("seller", TWO)

# What is heard, and what is told of it: kind and recipient.
STORIES: tuple[tuple[Event, list[tuple[str, tuple[str, UUID]]]], ...] = (
    (UserRegistered(ADA), [("welcome", ("user", ADA))]),
    (UserRegistered(ADA, imported=True), []),
    (EmailVerificationRequested(ADA), [("verify_email", ("user", ADA))]),
    (PasswordResetRequested(ADA), [("reset_password", ("user", ADA))]),
    (SessionsRevoked(ADA), [("sessions_revoked", ("user", ADA))]),
    (SellerApplied(ONE, ADA), [("seller_applied", ("admins", NOBODY))]),
    (SellerApproved(ONE, ADA), [("seller_approved", OF_ONE)]),
    (SellerRejected(ONE, ADA), [("seller_rejected", OF_ONE)]),
    (SellerSuspended(ONE), [("seller_suspended", OF_ONE)]),
    (WebhookDisabled(new_id(), ONE, "failing"), [("webhook_disabled", OF_ONE)]),
    (WebhookDisabled(new_id(), None, "gone"), [("webhook_disabled", ("admins", NOBODY))]),
    (
        OrderPlaced(ORDER, 7, ADA, None, USD, tuple(OrderedLine("S", THING, who, 1, USD) for who in (ONE, TWO, ONE)), NOW),
        [("order_placed", BUYER), ("seller_order_placed", OF_ONE), ("seller_order_placed", OF_TWO)],
    ),
    (OrderRejected(ORDER, None, "no stock"), [("order_rejected", BUYER)]),
    (OrderCancelled(ORDER, ADA, "buyer"), [("order_cancelled", BUYER)]),
    (OrderCancelled(ORDER, ADA, "admin", (ONE, TWO)),
     [("order_cancelled", BUYER), ("seller_items_cancelled", OF_ONE), ("seller_items_cancelled", OF_TWO)]),
    (OrderCancelled(ORDER, ADA, "seller", (ONE,)), [("order_cancelled", BUYER)]),
    (ItemsCancelled(ORDER, new_id(), ADA, "buyer", (CanceledLine(THING, ONE, "S", 1),), ()),
     [("items_cancelled", BUYER), ("seller_items_cancelled", OF_ONE)]),
    (ItemsCancelled(ORDER, new_id(), ADA, "seller", (CanceledLine(THING, ONE, "S", 1),), ()), [("items_cancelled", BUYER)]),
    (ReturnRequested(ORDER, new_id(), ONE, ADA, ()), [("seller_return_requested", OF_ONE)]),
    (ReturnApproved(ORDER, new_id(), ONE, ADA), [("return_approved", BUYER)]),
    (ReturnClosed(ORDER, new_id(), ONE, ADA, refused=True), [("return_refused", BUYER)]),
    (ReturnClosed(ORDER, new_id(), ONE, ADA, refused=False), []),
    (ReturnReceived(ORDER, new_id(), ONE, ADA, (ReturnedPieces(THING, "S", 1, 1, USD, ZERO),), False, USD, ZERO, ZERO, ZERO),
     [("return_received", BUYER)]),
    (ShipmentDispatched(new_id(), ORDER, ONE, (ShippedLine(THING, "S", 1),), NOW), [("order_shipped", BUYER)]),
    (ShipmentDelivered(new_id(), ORDER, ONE, (ShippedLine(THING, "S", 1),), NOW), [("order_delivered", BUYER)]),
    (DigitalGoodsDelivered(ORDER, new_id(), ONE, ADA, (DeliveredLine(THING, THING, "S", 1),), NOW), [("order_delivered", BUYER)]),
    (PaymentRefunded(ORDER, ORDER, new_id(), USD), [("order_refunded", BUYER)]),
    (PaymentRefunded(ORDER, ORDER, new_id(), ZERO), []),
    (WalletCredited(ADA, USD), [("wallet_credited", ("user", ADA))]),
    (PayoutSent(new_id(), ONE, USD), [("seller_payout_sent", OF_ONE)]),
    (PayoutFailed(new_id(), ONE, USD, "closed"), [("seller_payout_failed", OF_ONE)]),
    (PayoutAccountChanged(ONE, "USD", NOW), [("seller_payout_account_changed", OF_ONE)]),
    (BackInStock(THING, "S", (ADA, BEN)), [("back_in_stock", ("user", ADA)), ("back_in_stock", ("user", BEN))]),
    (ReviewPosted(new_id(), THING, ONE, ADA, 5, True), [("seller_review_posted", OF_ONE)]),
    (ReviewReplied(new_id(), THING, ONE, ADA), [("review_replied", ("user", ADA))]),
    (ReviewReplied(new_id(), THING, ONE, None), []),
    (ReviewRejected(new_id(), THING, ADA), [("review_rejected", ("user", ADA))]),
)  # fmt: skip


@pytest.mark.parametrize(("event", "expected"), STORIES, ids=lambda one: type(one).__name__)
def test_who_is_told_what(event: Event, expected: list[tuple[str, tuple[str, UUID]]]) -> None:
    news = told(event, NOW)
    found = find_notices(news)
    assert [(one.kind, (one.recipient_kind, one.recipient_id)) for one in found] == expected
    assert len({one.id for one in found}) == len(found)
    assert find_notices(news) == found
    of_another_fact = {one.id for one in find_notices(told(event, NOW))}
    assert of_another_fact.isdisjoint(one.id for one in found) or isinstance(event, ReviewPosted | ReviewReplied)
    assert {one.kind for one in found} <= KINDS.keys()


def test_every_fact_that_is_heard_is_told_of_or_has_a_story_here() -> None:
    elsewhere = {"StockLow", "CartAbandoned"}  # told in tests of planning and reminders
    assert {kind.__name__ for kind in TOLD} == {type(event).__name__ for event, _ in STORIES} | elsewhere


def test_an_id_begins_with_the_time_of_its_fact() -> None:
    (notice,) = find_notices(told(SessionsRevoked(ADA), NOW))
    assert moment_of(notice.id) == NOW
    review_id = new_id()
    (early,) = find_notices(told(ReviewReplied(review_id, THING, ONE, ADA), NOW))
    (late,) = find_notices(told(ReviewReplied(review_id, THING, ONE, ADA), NOW + timedelta(days=40)))
    assert early.id == late.id
    assert moment_of(early.id) == moment_of(review_id)
