"""The platform's share: which rule a line bears, and who may say so."""

import pytest
from tests.conftest import asked_by

from souk import pricing
from souk.app import Shop
from souk.kit.errors import Forbidden, NotFound
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.pricing.types import CommissionRule, NewCommissionRule, PricedLine, QuoteRequest

SELLER, OTHER, BOOKS, TOYS = new_id(), new_id(), new_id(), new_id()


def line(seller_id: object = SELLER, category_ids: tuple[object, ...] = (), price: int = 1_000) -> PricedLine:
    return PricedLine("MUG", new_id(), seller_id, category_ids, "standard", 3, Money(price, "EUR"))


async def commission_of(one: PricedLine, country: str | None = None) -> int:
    quote = await pricing.quote(QuoteRequest("EUR", (one,), country=country))
    return quote.lines[0].commission.amount


async def set_rule(rate_ppm: int, seller_id: object = None, category_id: object = None) -> CommissionRule:
    return await pricing.set_commission(NewCommissionRule(seller_id=seller_id, category_id=category_id, rate_ppm=rate_ppm))


async def test_the_nearest_rule_counts(shop: Shop) -> None:
    with asked_by("admin"):
        assert await commission_of(line()) == 300  # the shop's setting: 10 %
        await set_rule(80_000)
        assert await commission_of(line(category_ids=(BOOKS,))) == 240
        await set_rule(150_000, category_id=BOOKS)
        await set_rule(120_000, category_id=TOYS)
        assert await commission_of(line(category_ids=(BOOKS,))) == 450
        assert await commission_of(line(category_ids=(BOOKS, TOYS))) == 360
        await set_rule(200_000, SELLER)
        assert await commission_of(line(category_ids=(BOOKS,))) == 600
        own = await set_rule(0, SELLER, BOOKS)
        assert await commission_of(line(category_ids=(BOOKS,))) == 0
        assert await commission_of(line(OTHER, (BOOKS,))) == 450
        await pricing.remove_commission(own.id)
        assert await commission_of(line(category_ids=(BOOKS,))) == 600


async def test_the_share_is_of_what_the_seller_gets(shop: Shop) -> None:
    """Tax is not the seller's, what the seller takes off lessens the share, what the platform takes off does not."""
    with asked_by("admin"):
        await pricing.create_tax_rate(pricing_rate("DE", 250_000))
        assert await commission_of(line(price=1_250), "DE") == 300
        await pricing.create_promotion(promotion(seller_id=SELLER))
        assert await commission_of(line(price=1_250), "DE") == 150
        await pricing.create_promotion(promotion(rate_ppm=500_000, seller_ids=(OTHER,)))
        # 3,750 less half is 1,875, 375 of which are tax: the seller gets 1,500 and the platform's 1,875 beside them.
        assert await commission_of(line(OTHER, price=1_250), "DE") == 338


def pricing_rate(country: str, rate_ppm: int) -> pricing.NewTaxRate:
    return pricing.NewTaxRate(country=country, name="tax", rate_ppm=rate_ppm)


def promotion(**terms: object) -> pricing.NewPromotion:
    return pricing.NewPromotion(**{"name": "half", "kind": "percentage", "rate_ppm": 500_000} | terms)


async def test_one_rule_for_each_and_admins_only(shop: Shop) -> None:
    with asked_by("admin"):
        first = await set_rule(10_000, SELLER)
        again = await set_rule(20_000, SELLER)
        assert (again.id, again.rate_ppm) == (first.id, 20_000)
        assert [rule.id for rule in await pricing.list_commissions(None, 10)] == [first.id]
        with pytest.raises(NotFound):
            await pricing.remove_commission(new_id())
    for refused in (set_rule(1), pricing.list_commissions(None, 1), pricing.remove_commission(first.id)):
        with asked_by("user"), pytest.raises(Forbidden):
            await refused
