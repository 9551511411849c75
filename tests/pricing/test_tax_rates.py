"""Tax rates are an admin's."""

import asyncio

import msgspec
import pytest
from tests.conftest import asked_by

from souk import pricing
from souk.app import Shop
from souk.kit.errors import Forbidden, InvalidField, NotFound
from souk.kit.ids import new_id
from souk.pricing.types import NewTaxRate, TaxRateChanges, TaxRateExists


def new_rate(rate_ppm: int = 190_000, **rest: object) -> NewTaxRate:
    return NewTaxRate(**{"country": "DE", "name": "MwSt", "rate_ppm": rate_ppm} | rest)


async def test_a_rate_from_first_to_last(shop: Shop) -> None:
    with asked_by("admin"):
        made = await pricing.create_tax_rate(new_rate(region=" by "))
        assert (made.region, made.tax_category, made.rate_ppm, made.zero_reason) == ("BY", "standard", 190_000, None)
        assert await pricing.get_tax_rate(made.id) == made
        changed = await pricing.change_tax_rate(made.id, TaxRateChanges(rate_ppm=0, zero_reason="exempt"))
        assert (changed.rate_ppm, changed.zero_reason, changed.name) == (0, "exempt", "MwSt")
        assert await pricing.list_tax_rates(None, 10) == (changed,)
        await pricing.remove_tax_rate(made.id)
        with pytest.raises(NotFound):
            await pricing.get_tax_rate(made.id)
        with pytest.raises(NotFound):
            await pricing.change_tax_rate(made.id, TaxRateChanges())
        with pytest.raises(NotFound):
            await pricing.remove_tax_rate(made.id)


async def test_one_rate_per_place_and_category(shop: Shop) -> None:
    with asked_by("admin"):
        await pricing.create_tax_rate(new_rate())
        await pricing.create_tax_rate(new_rate(region="BY"))
        await pricing.create_tax_rate(new_rate(tax_category="books"))
        with pytest.raises(TaxRateExists):
            await pricing.create_tax_rate(new_rate(20_000))


async def test_a_zero_has_a_reason_and_nothing_else_has(shop: Shop) -> None:
    with asked_by("admin"):
        for bad in (new_rate(0), new_rate(1, zero_reason="exempt")):
            with pytest.raises(InvalidField):
                await pricing.create_tax_rate(bad)
            with pytest.raises(InvalidField):
                await pricing.set_tax_rates((bad,))
        made = await pricing.create_tax_rate(new_rate())
        with pytest.raises(InvalidField):
            await pricing.change_tax_rate(made.id, TaxRateChanges(rate_ppm=0))
        assert await pricing.list_tax_rates(None, 10) == (made,)


async def test_many_rates_at_once_and_again(shop: Shop) -> None:
    rates = tuple(new_rate(country=country) for country in ("DE", "AT", "FR"))
    with asked_by("admin"):
        first = await pricing.set_tax_rates(rates)
        await asyncio.gather(*(pricing.set_tax_rates(rates) for _ in range(8)))
        assert await pricing.set_tax_rates((new_rate(200_000, country="FR"), new_rate(200_000, country="FR")))
        listed = await pricing.list_tax_rates(None, 10)
    assert {one.id for one in listed} == {one.id for one in first}
    assert {one.country: one.rate_ppm for one in listed} == {"DE": 190_000, "AT": 190_000, "FR": 200_000}


@pytest.mark.parametrize("role", ["buyer", "seller"])
async def test_nobody_else_sees_or_writes_them(shop: Shop, role: str) -> None:
    some_id = new_id()
    with asked_by(role, sells_for=(new_id(),)):
        for attempt in (
            pricing.create_tax_rate(new_rate()),
            pricing.set_tax_rates((new_rate(),)),
            pricing.list_tax_rates(None, 10),
            pricing.get_tax_rate(some_id),
            pricing.change_tax_rate(some_id, TaxRateChanges()),
            pricing.remove_tax_rate(some_id),
        ):
            with pytest.raises(Forbidden):
                await attempt


async def test_pages_follow_each_other(shop: Shop) -> None:
    with asked_by("admin"):
        made = await pricing.set_tax_rates(tuple(new_rate(country=country) for country in ("DE", "AT", "FR", "IT", "ES")))
        first = await pricing.list_tax_rates(None, 3)
        rest = await pricing.list_tax_rates(first[-1].id, 3)
    assert [one.id for one in (*first, *rest)] == sorted(one.id for one in made)


@pytest.mark.parametrize(
    "body", [{"country": "de"}, {"country": "DEU"}, {"rate_ppm": -1}, {"rate_ppm": 1_000_001}, {"tax_category": "A B"}, {"x": 1}]
)
def test_a_field_out_of_range(body: dict[str, object]) -> None:
    good = {"country": "DE", "name": "MwSt", "rate_ppm": 190_000}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(good | body), type=NewTaxRate)


async def test_the_shops_currencies(shop: Shop) -> None:
    assert await pricing.get_currencies() == ("USD", "EUR", "GBP", "INR")
