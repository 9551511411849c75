"""What of an event is told to whom: the shop hears all of it, a seller what is this seller's, and nobody of a person."""

from datetime import UTC, datetime
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.webhooks.telling import payout

from souk.catalog.events import ProductChanged
from souk.kit.events import Event
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders.events import CanceledLine, CanceledPart, ItemsCancelled, OrderCancelled, OrderedLine, OrderPaid, OrderPlaced
from souk.reviews.events import ReviewPosted
from souk.webhooks.catalogue import KINDS, NAMES
from souk.webhooks.payloads import FOR_SELLERS, KEPT_FROM_SELLERS, NAME_THEIR_SELLER, tell_sellers, tell_shop, write_body

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ADA, BEN = new_id(), new_id()
PERSONAL = {"name", "username", "email", "phone", "address", "line1", "line2", "city", "token", "password", "ip", "birthday"}


def usd(cents: int) -> Money:
    return Money(cents, "USD")


def line(seller_id: UUID, cents: int, sku: str = "MUG") -> OrderedLine:
    return OrderedLine(sku, new_id(), seller_id, 1, usd(cents))


def read(data: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(data))


def test_a_seller_hears_of_their_part_of_an_order_only() -> None:
    placed = OrderPlaced(new_id(), 1001, new_id(), new_id(), usd(1750), (line(ADA, 500), line(BEN, 1000), line(ADA, 250, "POT")), NOW)
    told = tell_sellers(placed)
    assert told.keys() == {ADA, BEN}
    ada = read(told[ADA])
    assert [one["sku"] for one in ada["lines"]] == ["MUG", "POT"]
    assert ada["total"] == {"amount": 750, "currency": "USD"}
    assert ada.keys() == {"order_id", "number", "seller_id", "lines", "total", "placed_at"}
    for foreign in (BEN, placed.user_id, placed.cart_id):
        assert str(foreign) not in str(ada)
    assert read(tell_shop(placed)) == read(placed)


@given(st.lists(st.tuples(st.sampled_from([ADA, BEN, UUID(int=7)]), st.integers(0, 10**6)), min_size=1, max_size=8))
def test_the_parts_of_an_order_are_all_of_it_and_nobody_hears_of_anothers(pieces: list[tuple[UUID, int]]) -> None:
    lines = tuple(line(seller_id, cents) for seller_id, cents in pieces)
    total = usd(sum(cents for _, cents in pieces))
    told = {seller: read(data) for seller, data in tell_sellers(OrderPlaced(new_id(), 1, None, None, total, lines, NOW)).items()}
    assert sum(one["total"]["amount"] for one in told.values()) == total.amount
    for seller_id, data in told.items():
        assert {one["seller_id"] for one in data["lines"]} == {str(seller_id)}


def test_a_seller_hears_of_their_cancelled_pieces_only() -> None:
    nothing = usd(0)
    parts = tuple(CanceledPart(seller, usd(100), nothing, usd(10), nothing) for seller in (ADA, BEN))
    lines = tuple(CanceledLine(new_id(), seller, "MUG", 1) for seller in (ADA, BEN))
    told = tell_sellers(ItemsCancelled(new_id(), new_id(), new_id(), "buyer", lines, parts))
    ben = read(told[BEN])
    assert len(ben["lines"]) == len(ben["parts"]) == 1
    assert str(ADA) not in str(ben)
    whole = tell_sellers(OrderCancelled(new_id(), new_id(), "buyer", (ADA, BEN)))
    assert whole.keys() == {ADA, BEN}
    assert str(BEN) not in str(read(whole[ADA]))
    assert tell_sellers(OrderCancelled(new_id(), new_id(), "buyer")) == {}


@pytest.mark.parametrize("event", [OrderPaid(new_id(), usd(1)), ProductChanged(new_id(), 2)])
def test_an_event_that_names_no_seller_is_told_to_none(event: Event) -> None:
    assert tell_sellers(event) == {}


def test_who_reviewed_is_not_the_sellers_to_know() -> None:
    posted = ReviewPosted(new_id(), new_id(), ADA, new_id(), 5, True)
    assert tell_sellers(posted)[ADA].keys() == {"review_id", "product_id", "seller_id", "rating", "verified"}
    assert "user_id" in tell_shop(posted)


def test_events_that_are_told_whole_name_their_seller_and_no_buyer_deeper_down() -> None:
    for kind in NAME_THEIR_SELLER:
        hints = get_type_hints(kind)
        assert hints["seller_id"] is UUID, kind
        inner = [name for name in find_fields(kind) if name in KEPT_FROM_SELLERS]
        assert len(inner) == ("user_id" in hints), kind


def test_nothing_that_is_told_is_named_like_something_about_a_person() -> None:
    assert [(kind, name) for kind in KINDS for name in find_fields(kind) if PERSONAL & set(name.split("_"))] == []


def find_fields(kind: object) -> list[str]:
    """The names of all fields of a Struct, however deep."""
    found: list[str] = []
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for name, hint in get_type_hints(kind).items():
            found += [name, *find_fields(hint)]
    for inner in getattr(kind, "__args__", ()):
        found += find_fields(inner)
    return found


def test_what_sellers_may_hear_is_in_the_catalogue_under_a_name_of_its_own() -> None:
    assert set(FOR_SELLERS) <= set(KINDS)
    assert len(set(NAMES.values())) == len(KINDS)
    assert NAMES[OrderPlaced] == "orders.order_placed"


def test_the_body_is_as_the_standard_wants_it() -> None:
    event = payout(500)
    body = msgspec.json.decode(write_body("payments.payout_sent", NOW, tell_shop(event)))
    assert list(body) == ["type", "timestamp", "data"]
    assert (body["type"], body["timestamp"]) == ("payments.payout_sent", "2026-05-01T00:00:00Z")
