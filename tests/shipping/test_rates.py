"""What it costs to send a parcel: which zone serves an address, and which of its rates fit."""

import asyncio
from uuid import UUID

import pytest
from tests.conftest import asked_by

from souk import shipping
from souk.app import Shop
from souk.kit.errors import InvalidField
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.shipping.types import Method, NewZone, NotServed, Parcel, Rate, RateRequest, SellerRates, Zone, ZoneRate

ANNA, BEN = new_id(), new_id()


def flat(price: int, option: str = "standard", **bounds: int) -> Method:
    return Method(option, option.title(), 2, 4, (ZoneRate(Money(price, "EUR"), **bounds),))


async def make_zone(*methods: Method, **terms: object) -> Zone:
    with asked_by("admin"):
        return await shipping.create_zone(NewZone(**{"name": "A zone", "methods": methods} | terms))


def parcel(weight_g: int = 1000, worth: int = 2000, seller_id: UUID = ANNA, **rest: bool) -> Parcel:
    return Parcel(seller_id, weight_g, Money(worth, "EUR"), **rest)


def ask(*parcels: Parcel, country: str = "DE", postal_code: str | None = "10115") -> RateRequest:
    return RateRequest("EUR", country, parcels or (parcel(),), postal_code)


async def prices(*parcels: Parcel, **address: str | None) -> list[int]:
    """The cheapest price of each parcel."""
    return [one.rates[0].price.amount for one in await shipping.quote_rates(ask(*parcels, **address))]


async def test_a_flat_rate(shop: Shop) -> None:
    await make_zone(flat(490), countries=("DE",))
    assert await shipping.quote_rates(ask()) == (SellerRates(ANNA, (Rate("standard", "Standard", Money(490, "EUR"), 2, 4),)),)


async def test_the_cheapest_comes_first(shop: Shop) -> None:
    await make_zone(flat(990, "express"), flat(490), flat(290, "slow"), countries=("DE",))
    (found,) = await shipping.quote_rates(ask())
    assert [rate.option for rate in found.rates] == ["slow", "standard", "express"]


async def test_a_rate_by_weight(shop: Shop) -> None:
    tiers = (
        ZoneRate(Money(490, "EUR"), weight_below_g=2000),
        ZoneRate(Money(690, "EUR"), weight_from_g=2000, weight_below_g=10_000),
    )
    await make_zone(Method("standard", "Standard", 2, 4, tiers), countries=("DE",))
    assert await prices(parcel(0), parcel(1999), parcel(2000), parcel(9999)) == [490, 490, 690, 690]
    with pytest.raises(NotServed) as refused:
        await shipping.quote_rates(ask(parcel(1), parcel(10_000, seller_id=BEN)))
    assert (refused.value.country, refused.value.seller_ids) == ("DE", (BEN,))


async def test_free_above(shop: Shop) -> None:
    rates = (ZoneRate(Money(490, "EUR")), ZoneRate(Money(0, "EUR"), total_from=5000))
    await make_zone(Method("standard", "Standard", 2, 4, rates), countries=("DE",))
    assert await prices(parcel(worth=4999), parcel(worth=5000)) == [490, 0]


async def test_a_rate_by_total(shop: Shop) -> None:
    rates = (ZoneRate(Money(490, "EUR"), total_below=3000), ZoneRate(Money(290, "EUR"), total_from=3000, total_below=9000))
    await make_zone(Method("standard", "Standard", 2, 4, rates), countries=("DE",))
    assert await prices(parcel(worth=2999), parcel(worth=3000)) == [490, 290]
    with pytest.raises(NotServed):
        await shipping.quote_rates(ask(parcel(worth=9000)))


async def test_a_rate_is_for_its_currency(shop: Shop) -> None:
    await make_zone(Method("standard", "Standard", 2, 4, (ZoneRate(Money(100, "USD")),)), countries=("DE",))
    with pytest.raises(NotServed):
        await shipping.quote_rates(ask())


async def test_the_closest_zone_serves(shop: Shop) -> None:
    await make_zone(flat(2000))
    await make_zone(flat(490), countries=("DE", "AT"))
    await make_zone(flat(990), countries=("DE",), postal_include=("27", "18565"))
    await make_zone(flat(1490), countries=("DE",), postal_include=("274 98",), priority=9999)
    expected = {"10115": 490, "27500": 990, "27498": 1490, " 2-7 498": 1490, "18565": 990, "18566": 490, None: 490}
    for postal_code, price in expected.items():
        assert await prices(postal_code=postal_code) == [price]
    assert await prices(country="AT", postal_code="27498") == [490]
    assert await prices(country="US", postal_code="27498") == [2000]


async def test_a_zone_may_leave_postal_codes_out(shop: Shop) -> None:
    await make_zone(flat(490), countries=("GB",), postal_exclude=("bt", "IM"))
    assert await prices(country="GB", postal_code="SW1A 1AA") == [490]
    for postal_code in ("BT1 1AA", "im1 1aa"):
        with pytest.raises(NotServed):
            await shipping.quote_rates(ask(country="GB", postal_code=postal_code))
    await make_zone(flat(990), countries=("GB",), postal_include=("B",), postal_exclude=("BT2",))
    assert await prices(country="GB", postal_code="BT1 1AA") == [990]
    with pytest.raises(NotServed):
        await shipping.quote_rates(ask(country="GB", postal_code="BT2 1AA"))


async def test_of_two_equal_zones_the_priority_decides_then_the_age(shop: Shop) -> None:
    first = await make_zone(flat(1), countries=("DE",))
    await make_zone(flat(2), countries=("DE",))
    assert await prices() == [1]
    with asked_by("admin"):
        await shipping.change_zone(first.id, shipping.ZoneChanges(priority=101))
    assert await prices() == [2]
    await make_zone(flat(3), countries=("DE",), priority=1)
    assert await prices() == [3]


async def test_a_zone_that_is_off_serves_nobody(shop: Shop) -> None:
    await make_zone(flat(490), countries=("DE",), active=False)
    with pytest.raises(NotServed):
        await shipping.quote_rates(ask())


async def test_a_sellers_own_rates_come_before_the_platforms(shop: Shop) -> None:
    await make_zone(flat(490), flat(990, "express"), countries=("DE",), postal_include=("1",))
    await make_zone(flat(790, "courier", weight_below_g=5000), seller_id=BEN)
    annas, bens = await shipping.quote_rates(ask(parcel(), parcel(seller_id=BEN)))
    assert [rate.option for rate in annas.rates] == ["standard", "express"]
    assert [rate.option for rate in bens.rates] == ["courier"]
    # What they have no rate for goes as the platform's parcels do.
    assert await prices(parcel(6000, seller_id=BEN)) == [490]


async def test_what_needs_no_shipping_goes_everywhere(shop: Shop) -> None:
    found = await shipping.quote_rates(ask(parcel(requires_shipping=False)))
    assert found == (SellerRates(ANNA, (Rate("none", "No shipping", Money(0, "EUR"), 0, 0),)),)


async def test_every_request_of_a_batch_has_its_own_answer(shop: Shop) -> None:
    await make_zone(flat(490), countries=("DE",))
    await make_zone(flat(790), countries=("AT",))
    countries = ["DE", "AT", "CH"] * 20
    answers = await asyncio.gather(*(shipping.quote_rates(ask(country=one)) for one in countries), return_exceptions=True)
    found = [type(one) if isinstance(one, BaseException) else one[0].rates[0].price.amount for one in answers]
    assert found == [490, 790, NotServed] * 20


@pytest.mark.parametrize("value", [Money(100, "USD"), Money(-1, "EUR")])
async def test_a_parcel_worth_something_else(shop: Shop, value: Money) -> None:
    await make_zone(flat(490))
    with pytest.raises(InvalidField):
        await shipping.quote_rates(RateRequest("EUR", "DE", (Parcel(ANNA, 1, value),)))
