"""Zones are made and changed by those whose they are, and never contradict themselves."""

import asyncio

import asyncpg
import msgspec
import pytest
from tests.conftest import asked_by

from souk import shipping
from souk.app import Shop
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.shipping.database import db
from souk.shipping.types import Method, NewZone, RateRequest, ZoneChanges, ZoneRate

ANNA, BEN = new_id(), new_id()

STANDARD = Method(
    "standard",
    "Standard",
    2,
    4,
    (
        ZoneRate(Money(490, "EUR"), weight_below_g=2000),
        ZoneRate(Money(690, "EUR"), weight_from_g=2000, weight_below_g=31_500),
        ZoneRate(Money(0, "EUR"), total_from=5000, total_below=100_000),
        ZoneRate(Money(550, "USD")),
    ),
)
EXPRESS = Method("express", "Express", 1, 1, (ZoneRate(Money(990, "EUR")),))


def new_zone(**terms: object) -> NewZone:
    return NewZone(**{"name": "Germany", "countries": ("DE",), "methods": (EXPRESS, STANDARD)} | terms)


async def test_a_zone_from_first_to_last(shop: Shop) -> None:
    terms = new_zone(countries=("DE", "AT"), postal_include=("1", "27 498"), postal_exclude=("99-1",), priority=7, active=False)
    with asked_by("admin"):
        made = await shipping.create_zone(terms)
        assert await shipping.get_zone(made.id) == made
        assert (made.name, made.seller_id, made.methods, made.priority, made.active) == ("Germany", None, (EXPRESS, STANDARD), 7, False)
        assert (made.countries, made.postal_include, made.postal_exclude) == (("AT", "DE"), ("1", "27498"), ("991",))
        changed = await shipping.change_zone(made.id, ZoneChanges(name="Middle Europe", active=True))
        assert (changed.name, changed.active, changed.methods, changed.created_at) == ("Middle Europe", True, made.methods, made.created_at)
        assert changed.updated_at > made.updated_at
        assert (await shipping.change_zone(made.id, ZoneChanges(methods=(EXPRESS,)))).methods == (EXPRESS,)
        assert (await shipping.change_zone(made.id, ZoneChanges(methods=()))).methods == ()
        await shipping.remove_zone(made.id)
        with pytest.raises(NotFound):
            await shipping.get_zone(made.id)
        with pytest.raises(NotFound):
            await shipping.remove_zone(made.id)
    assert await db.value("SELECT count(*) FROM shipping.rate") == 0


async def test_the_same_key_makes_one_zone(shop: Shop) -> None:
    with asking(Caller(Principal("user", new_id(), ("admin",)), idempotency_key="k1")):
        made = {zone.id for zone in await asyncio.gather(*(shipping.create_zone(new_zone()) for _ in range(8)))}
    assert len(made) == 1


async def test_a_seller_manages_their_own_and_nobody_elses(shop: Shop) -> None:
    with asked_by("admin"):
        platforms, bens = await shipping.create_zone(new_zone()), await shipping.create_zone(new_zone(seller_id=BEN))
    with asked_by("seller", sells_for=(ANNA,)):
        mine = await shipping.create_zone(new_zone())
        assert mine.seller_id == ANNA
        assert await shipping.list_zones(None, 10) == (mine,)
        for another in (platforms, bens):
            with pytest.raises(NotFound):
                await shipping.get_zone(another.id)
            with pytest.raises(NotFound):
                await shipping.change_zone(another.id, ZoneChanges(methods=()))
            with pytest.raises(NotFound):
                await shipping.remove_zone(another.id)
        with pytest.raises(NotFound):
            await shipping.create_zone(new_zone(seller_id=BEN))
        assert (await shipping.change_zone(mine.id, ZoneChanges(name="Mine"))).name == "Mine"
    with asked_by("seller", sells_for=(ANNA, BEN)), pytest.raises(InvalidField):
        await shipping.create_zone(new_zone())
    with asked_by("admin"):
        assert [zone.id for zone in await shipping.list_zones(None, 2)] == [platforms.id, bens.id]
        assert [zone.id for zone in await shipping.list_zones(bens.id, 2)] == [mine.id]


async def test_buyers_and_strangers_make_none(shop: Shop) -> None:
    with asked_by("buyer"):
        for attempt in (shipping.create_zone(new_zone()), shipping.list_zones(None, 10)):
            with pytest.raises(Forbidden):
                await attempt
    with asking(Caller()), pytest.raises(Unauthenticated):
        await shipping.create_zone(new_zone())


def method(option: str = "standard", days: tuple[int, int] = (1, 2), price: Money = Money(1, "EUR"), **bounds: int) -> Method:  # noqa: B008
    return Method(option, "Name", *days, (ZoneRate(price, **bounds),))


CONTRADICTIONS: list[tuple[dict[str, object], str]] = [
    ({"countries": (), "postal_include": ("1",)}, "countries"),
    ({"countries": (), "postal_exclude": ("1",)}, "countries"),
    ({"methods": (method(), method())}, "methods"),
    ({"methods": (method("none"),)}, "option"),
    ({"methods": (method(days=(2, 1)),)}, "days_max"),
    ({"methods": (method(price=Money(-1, "EUR")),)}, "price"),
    ({"methods": (method(price=Money(1, "QQQ")),)}, "price"),
    ({"methods": (method(weight_from_g=5, weight_below_g=5),)}, "weight_below_g"),
    ({"methods": (method(total_from=5, total_below=5),)}, "total_below"),
]


async def test_terms_that_contradict_themselves(shop: Shop) -> None:
    with asked_by("admin"):
        kept = await shipping.create_zone(new_zone())
        for terms, field in CONTRADICTIONS:
            with pytest.raises(InvalidField) as refused:
                await shipping.create_zone(new_zone(**terms))
            assert refused.value.field == field
            with pytest.raises(InvalidField):
                await shipping.change_zone(kept.id, ZoneChanges(**terms))
        assert await shipping.list_zones(None, 10) == (kept,)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (NewZone, {"name": ""}),
        (NewZone, {"countries": ["Germany"]}),
        (NewZone, {"postal_include": [""]}),
        (NewZone, {"postal_include": ["%"]}),
        (NewZone, {"methods": [{"option": "a", "name": "A", "days_min": 1, "days_max": 1, "rates": []}]}),
        (NewZone, {"id": str(new_id())}),
        (RateRequest, {"currency": "eur"}),
        (RateRequest, {"country": "Germany"}),
        (RateRequest, {"postal_code": "1" * 21}),
        (RateRequest, {"parcels": []}),
        (RateRequest, {"parcels": [{"seller_id": str(ANNA), "weight_g": -1, "value": {"amount": 1, "currency": "EUR"}}]}),
        (RateRequest, {"lines": []}),
    ],
)
def test_a_field_out_of_range(kind: type[NewZone | RateRequest], body: dict[str, object]) -> None:
    parcel = {"seller_id": str(ANNA), "weight_g": 1, "value": {"amount": 1, "currency": "EUR"}}
    good = {"name": "Germany"} if kind is NewZone else {"currency": "EUR", "country": "DE", "postal_code": None, "parcels": [parcel]}
    assert isinstance(msgspec.json.decode(msgspec.json.encode(good), type=kind), kind)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(good | body), type=kind)


async def test_the_database_itself_refuses_a_negative_price(shop: Shop) -> None:
    with asked_by("admin"):
        await shipping.create_zone(new_zone())
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.transaction() as tx:
            await tx.run("UPDATE shipping.rate SET price = -1")
