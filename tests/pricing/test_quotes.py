"""What a quote says, as a pure function: examples first, then what holds for every cart."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from souk.kit.errors import InvalidField
from souk.kit.ids import new_id
from souk.kit.money import Money, add_up, exponent, known_currencies
from souk.pricing.quotes import InForce, make_quote
from souk.pricing.types import (
    Coupon,
    CouponCurrency,
    CouponExpired,
    CouponMinimum,
    CouponNotApplicable,
    CouponNotForYou,
    CouponUnknown,
    CouponUsedUp,
    PricedLine,
    Promotion,
    Quote,
    QuoteRequest,
    ShippingCharge,
    TaxRate,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ANNA, BEN = (UUID(int=number) for number in (1, 2))  # sellers
SHIRTS, MUGS = (UUID(int=number) for number in (11, 12))  # categories


def line(
    price: int, quantity: int = 1, *, seller: UUID = ANNA, category: UUID = SHIRTS, tax: str = "standard", currency: str = "EUR"
) -> PricedLine:
    return PricedLine(f"SKU-{price}-{quantity}", UUID(int=abs(price)), seller, (category,), tax, quantity, Money(price, currency))


def promotion(**terms: object) -> Promotion:
    kind = "fixed" if "amount" in terms else "free_shipping" if "rate_ppm" not in terms else "percentage"
    return Promotion(**{"id": new_id(), "name": "Sale", "kind": kind, "created_at": NOW, "updated_at": NOW} | terms)


def coupon(**terms: object) -> Coupon:
    kind = "fixed" if "amount" in terms else "free_shipping" if "rate_ppm" not in terms else "percentage"
    fixed = {"id": new_id(), "code": "CODE", "name": "Coupon", "kind": kind, "uses": 0, "spent": None, "created_at": NOW, "updated_at": NOW}
    return Coupon(**fixed | terms)


def rate(rate_ppm: int, country: str = "DE", category: str = "standard", region: str | None = None, reason: str | None = None) -> TaxRate:
    return TaxRate(
        id=new_id(),
        country=country,
        region=region,
        tax_category=category,
        name="VAT",
        rate_ppm=rate_ppm,
        zero_reason=reason,
        created_at=NOW,
        updated_at=NOW,
    )


GERMANY = (rate(190_000), rate(70_000, category="books"), rate(0, category="letters", reason="exempt"))
AMERICA = (rate(60_000, "US"), rate(72_500, "US", region="CA"), rate(0, "US", "food", region="CA", reason="zero_rated"))


def ask(*lines: PricedLine, shipping: Sequence[ShippingCharge] = (), **rest: object) -> QuoteRequest:
    return QuoteRequest("EUR", lines, tuple(shipping), **rest)


def in_force(*promotions: Promotion, **rest: object) -> InForce:
    return InForce(**{"now": NOW, "promotions": promotions, "tax_rates": (*GERMANY, *AMERICA), "tax_excluded_in": ("US",)} | rest)


def quote(*lines: PricedLine, promotions: tuple[Promotion, ...] = (), coupon: Coupon | None = None, **rest: object) -> Quote:
    return make_quote(ask(*lines, coupon=coupon.code if coupon else None, **rest), in_force(*promotions, coupon=coupon))


def amounts(of: Quote) -> tuple[int | None, ...]:
    """Subtotal, discount, shipping, tax, total."""
    sums = (of.subtotal, of.discount, of.shipping_total, of.tax, of.total)
    return tuple(None if one is None else one.amount for one in sums)


def off(of: Quote) -> list[int]:
    return [one.discount.amount for one in of.lines]


TENTH, FIFTH, HALF = 100_000, 200_000, 500_000


def test_without_an_address_shipping_and_tax_are_open() -> None:
    asked = quote(line(1000, 2), shipping=[ShippingCharge(ANNA, Money(500, "EUR"))])
    assert amounts(asked) == (2000, 0, None, None, 2000)
    assert (asked.shipping, asked.lines[0].tax, asked.lines[0].tax_reason) == ((), Money(0, "EUR"), None)


def test_where_prices_include_tax_the_total_does_not_grow() -> None:
    asked = quote(line(1190, 2), country="DE", shipping=[ShippingCharge(ANNA, Money(595, "EUR"))])
    assert amounts(asked) == (2380, 0, 595, 380 + 95, 2975)
    assert asked.tax_included


def test_where_prices_exclude_tax_it_is_added() -> None:
    asked = quote(line(1000, 2), country="US", region=" ca", shipping=[ShippingCharge(ANNA, Money(500, "EUR"))])
    assert amounts(asked) == (2000, 0, 500, 145 + 36, 2681)  # half a cent of 36.25 and less goes down
    assert not asked.tax_included


@pytest.mark.parametrize(
    ("category", "country", "region", "rule"),
    [
        ("standard", "DE", None, (190_000, None)),
        ("books", "DE", "Bayern", (70_000, None)),
        ("toys", "DE", None, (190_000, None)),  # no rate of its own: never too little
        ("letters", "DE", None, (0, "exempt")),
        ("standard", "US", "NY", (60_000, None)),
        ("standard", "US", "CA", (72_500, None)),
        ("food", "US", "CA", (0, "zero_rated")),
        ("food", "US", "NY", (60_000, None)),
        ("standard", "JP", None, (0, "not_collected")),
    ],
)
def test_the_rate_of_a_place_and_category(category: str, country: str, region: str | None, rule: tuple[int, str | None]) -> None:
    (quoted,) = quote(line(1000, tax=category), country=country, region=region).lines
    assert (quoted.tax_rate, quoted.tax_reason) == rule


def test_half_a_cent_is_rounded_up_line_by_line() -> None:
    asked = quote(line(50), line(50), country="US", region="NY")  # 3.0 each
    assert [one.tax.amount for one in asked.lines] == [3, 3]
    asked = quote(line(25), line(25), country="US", region="NY")  # 1.5 each
    assert [one.tax.amount for one in asked.lines] == [2, 2]
    assert asked.tax == Money(4, "EUR")


def test_tax_is_on_what_the_discount_leaves() -> None:
    asked = quote(line(2380), country="DE", promotions=(promotion(rate_ppm=HALF),))
    assert amounts(asked) == (2380, 1190, 0, 190, 1190)


def test_a_discount_is_shared_out_over_its_lines() -> None:
    asked = quote(line(1000), line(1000), line(1000), coupon=coupon(amount=Money(1000, "EUR")))
    assert (asked.discount, off(asked)) == (Money(1000, "EUR"), [334, 333, 333])
    assert (asked.coupon, asked.coupon_discount) == ("CODE", Money(1000, "EUR"))


def test_the_odd_cent_falls_on_the_same_line_whatever_the_order() -> None:
    lines = (line(999), line(999, tax="letters"))  # of one cent less the tax is one cent less
    there, back = (quote(*order, country="DE", promotions=(promotion(amount=Money(1, "EUR")),)) for order in (lines, lines[::-1]))
    assert there.tax == back.tax
    assert off(there) == off(back)[::-1]


def test_no_line_goes_below_zero() -> None:
    asked = quote(line(300), line(200), promotions=(promotion(amount=Money(10_000, "EUR")),), country="US", region="NY")
    assert amounts(asked) == (500, 500, 0, 0, 0)


def test_a_tenth_is_a_tenth_of_the_whole() -> None:
    asked = quote(*[line(5)] * 3, promotions=(promotion(rate_ppm=TENTH),))
    assert asked.discount == Money(2, "EUR")  # of 15; line by line it would be 3


def test_a_promotion_is_for_its_lines() -> None:
    lines = (line(1000), line(2000, category=MUGS), line(3000, seller=BEN))
    assert off(quote(*lines, promotions=(promotion(rate_ppm=TENTH, category_ids=(MUGS,)),))) == [0, 200, 0]
    assert off(quote(*lines, promotions=(promotion(rate_ppm=TENTH, product_ids=(UUID(int=1000),)),))) == [100, 0, 0]
    assert off(quote(*lines, promotions=(promotion(rate_ppm=TENTH, product_ids=(UUID(int=1000),), category_ids=(MUGS,)),))) == [100, 200, 0]
    assert off(quote(*lines, promotions=(promotion(rate_ppm=TENTH, seller_ids=(BEN,)),))) == [0, 0, 300]
    assert off(quote(*lines, promotions=(promotion(rate_ppm=TENTH, seller_ids=(BEN,), category_ids=(MUGS,)),))) == [0, 0, 0]


def test_a_sellers_promotion_is_for_their_lines_and_paid_by_them() -> None:
    asked = quote(line(1000), line(1000, seller=BEN), promotions=(promotion(rate_ppm=TENTH, seller_id=BEN),))
    assert off(asked) == [0, 100]
    (applied,) = asked.lines[1].discounts
    assert (applied.funded_by, applied.seller_id, applied.code) == ("seller", BEN, None)
    (applied,) = quote(line(1000), coupon=coupon(rate_ppm=TENTH)).lines[0].discounts
    assert (applied.funded_by, applied.seller_id, applied.code) == ("platform", None, "CODE")


def test_a_minimum_looks_at_the_lines_that_it_is_for() -> None:
    sale = promotion(rate_ppm=TENTH, minimum=Money(2000, "EUR"), category_ids=(SHIRTS,))
    assert off(quote(line(1999), line(5000, category=MUGS), promotions=(sale,))) == [0, 0]
    assert off(quote(line(2000), promotions=(sale,))) == [200]


def test_a_fixed_amount_is_for_its_currency() -> None:
    assert off(quote(line(1000), promotions=(promotion(amount=Money(100, "USD")),))) == [0]


def test_of_two_promotions_the_buyer_gets_the_better_on_each_line() -> None:
    everything = promotion(rate_ppm=TENTH)
    bens = promotion(rate_ppm=FIFTH, seller_id=BEN)
    asked = quote(line(1000), line(1000, seller=BEN), promotions=(everything, bens))
    assert off(asked) == [100, 200]
    assert asked.promotion_ids == (everything.id, bens.id)


def test_a_fixed_amount_is_not_lost_where_another_is_better() -> None:
    bens = promotion(rate_ppm=FIFTH, seller_id=BEN)
    asked = quote(line(1000), line(1000, seller=BEN), coupon=coupon(amount=Money(300, "EUR")), promotions=(bens,))
    assert off(asked) == [300, 200]


def test_a_coupon_that_a_promotion_beats_is_not_used() -> None:
    asked = quote(line(1000), coupon=coupon(rate_ppm=TENTH), promotions=(promotion(rate_ppm=FIFTH),))
    assert (off(asked), asked.coupon, asked.coupon_discount) == ([200], None, None)
    same = quote(line(1000), coupon=coupon(rate_ppm=FIFTH, priority=1), promotions=(promotion(rate_ppm=FIFTH, priority=2),))
    assert same.coupon is None


def test_combinable_ones_follow_each_other_by_priority() -> None:
    ten_off = promotion(amount=Money(200, "EUR"), combinable=True, priority=1)
    half = promotion(rate_ppm=HALF, combinable=True, priority=2)
    assert off(quote(line(1000), promotions=(half, ten_off))) == [200 + 400]
    later = promotion(amount=Money(200, "EUR"), combinable=True, priority=3)
    assert off(quote(line(1000), promotions=(later, half))) == [500 + 200]


def test_one_that_is_not_combinable_stands_alone() -> None:
    two = (promotion(rate_ppm=TENTH, combinable=True), promotion(rate_ppm=TENTH, combinable=True))
    assert off(quote(line(1000), promotions=(*two, promotion(rate_ppm=FIFTH)))) == [200]  # 19 % together
    assert off(quote(line(1000), promotions=(*two, promotion(rate_ppm=150_000)))) == [190]


def test_free_shipping_is_for_the_sellers_that_it_covers() -> None:
    charges = [ShippingCharge(ANNA, Money(500, "EUR")), ShippingCharge(BEN, Money(700, "EUR"))]
    free = promotion(seller_ids=(BEN,))
    asked = quote(line(1000), line(1000, seller=BEN), shipping=charges, country="US", region="NY", promotions=(free,))
    assert amounts(asked) == (2000, 0, 500, 60 + 60 + 30, 2650)
    assert [one.promotion_id for one in asked.shipping[1].discounts] == [free.id]


def test_free_shipping_by_coupon_waits_for_the_address() -> None:
    free = coupon()
    open_yet = quote(line(1000), coupon=free)
    assert (open_yet.coupon, open_yet.coupon_discount) == ("CODE", Money(0, "EUR"))
    known = quote(line(1000), coupon=free, country="DE", shipping=[ShippingCharge(ANNA, Money(500, "EUR"))])
    assert (known.coupon, known.coupon_discount, known.shipping_total) == ("CODE", Money(500, "EUR"), Money(0, "EUR"))
    nothing_to_ship = quote(line(1000), coupon=free, country="DE")
    assert nothing_to_ship.coupon is None


@pytest.mark.parametrize(
    ("terms", "refusal"),
    [
        ({"active": False}, CouponUnknown),
        ({"starts_at": NOW + timedelta(seconds=1)}, CouponUnknown),
        ({"ends_at": NOW}, CouponExpired),
        ({"user_id": new_id()}, CouponNotForYou),
        ({"usage_limit": 3, "uses": 3}, CouponUsedUp),
        ({"usage_limit_per_buyer": 2}, CouponUsedUp),
        ({"budget": Money(500, "EUR"), "spent": Money(500, "EUR")}, CouponUsedUp),
        ({"budget": Money(500, "EUR"), "spent": Money(401, "EUR")}, CouponUsedUp),  # the order would take 100 off
        ({"minimum": Money(1, "USD")}, CouponCurrency),
        ({"category_ids": (MUGS,)}, CouponNotApplicable),
        ({"seller_id": BEN}, CouponNotApplicable),
        ({"minimum": Money(1001, "EUR")}, CouponMinimum),
    ],
)
def test_why_a_coupon_is_refused(terms: dict[str, object], refusal: type[Exception]) -> None:
    request = ask(line(1000), coupon="CODE", user_id=new_id())
    with pytest.raises(refusal):
        make_quote(request, in_force(coupon=coupon(rate_ppm=TENTH, **terms), buyer_uses=2))
    assert make_quote(request, in_force(coupon=coupon(rate_ppm=TENTH), buyer_uses=2)).discount == Money(100, "EUR")


def test_a_coupon_that_does_not_exist() -> None:
    with pytest.raises(CouponUnknown):
        make_quote(ask(line(1000), coupon="NOPE"), in_force())


def test_an_order_that_is_quoted_again_keeps_its_coupon() -> None:
    spent = coupon(rate_ppm=TENTH, usage_limit=1, uses=1, ends_at=NOW)
    assert make_quote(ask(line(1000), coupon="CODE"), in_force(coupon=spent, redeemed=True)).discount == Money(100, "EUR")


@pytest.mark.parametrize("bad", [line(1000, 0), line(1000, -1), line(-1), line(1000, currency="USD"), line(10**15), line(10**9, 10**9)])
def test_what_cannot_be_sold(bad: PricedLine) -> None:
    with pytest.raises(InvalidField):
        quote(line(100), bad)


# What holds for every cart.

CURRENCIES = sorted(known_currencies())
PPM = st.integers(1, 1_000_000)
SELLERS = st.sampled_from([ANNA, BEN])
CATEGORIES = st.sampled_from([SHIRTS, MUGS])


@st.composite
def terms(draw: st.DrawFn, currency: str) -> dict[str, object]:
    value = draw(st.sampled_from(["rate_ppm", "amount", "free"]))
    chosen: dict[str, object] = {
        "seller_id": draw(st.none() | SELLERS),
        "category_ids": draw(st.lists(CATEGORIES, max_size=2).map(tuple)),
        "minimum": draw(st.none() | st.integers(1, 10**6).map(lambda amount: Money(amount, currency))),
        "combinable": draw(st.booleans()),
        "priority": draw(st.integers(0, 2)),
    }
    if value == "rate_ppm":
        chosen["rate_ppm"] = draw(PPM)
    if value == "amount":
        chosen["amount"] = Money(draw(st.integers(1, 10**7)), currency)
    return chosen


@st.composite
def worlds(draw: st.DrawFn) -> tuple[QuoteRequest, InForce]:
    currency = draw(st.sampled_from(CURRENCIES))
    lines = draw(
        st.lists(
            st.builds(
                PricedLine,
                sku=st.sampled_from(["A", "B", "C"]),
                product_id=st.sampled_from([UUID(int=21), UUID(int=22)]),
                seller_id=SELLERS,
                category_ids=CATEGORIES.map(lambda one: (one,)),
                tax_category=st.sampled_from(["standard", "books", "letters"]),
                quantity=st.integers(1, 50),
                unit_price=st.integers(0, 10**6).map(lambda amount: Money(amount, currency)),
            ),
            max_size=6,
        ).map(tuple)
    )
    charges = tuple(ShippingCharge(seller, Money(draw(st.integers(0, 10**4)), currency)) for seller in (ANNA, BEN))
    country = draw(st.sampled_from([None, "DE", "US", "JP"]))
    offers = tuple(promotion(**draw(terms(currency))) for _ in range(draw(st.integers(0, 4))))
    request = QuoteRequest(currency, lines, charges, country=country, region=draw(st.sampled_from([None, "CA"])))
    rates = tuple(
        rate(ppm, country, category, region, None if ppm else "exempt")
        for country in ("DE", "US")
        for category in ("standard", "books")
        for region in (None, "CA")
        for ppm in draw(st.lists(st.integers(0, 1_000_000), max_size=1))
    )
    return request, InForce(NOW, offers, tax_rates=rates, tax_excluded_in=("US",))


@given(worlds())
def test_parts_add_up_to_wholes(world: tuple[QuoteRequest, InForce]) -> None:
    request, terms_in_force = world
    asked = make_quote(request, terms_in_force)
    currency = request.currency
    parts = (*asked.lines, *asked.shipping)
    known = request.country is not None
    assert asked.total == add_up((part.total for part in parts), currency)
    assert asked.tax == (add_up((part.tax for part in parts), currency) if known else None)
    assert asked.subtotal == add_up((line.unit_price * line.quantity for line in request.lines), currency)
    shipping = asked.shipping_total or Money(0, currency)
    added = Money(0, currency) if asked.tax_included or asked.tax is None else asked.tax
    assert asked.total == asked.subtotal - asked.discount + shipping + added
    for part in parts:
        assert part.discount == add_up((one.amount for one in part.discounts), currency)
    assert exponent(currency) in (0, 2, 3, 4)


@given(worlds())
def test_nothing_is_below_zero_and_no_discount_above_its_base(world: tuple[QuoteRequest, InForce]) -> None:
    asked = make_quote(*world)
    for part in asked.lines:
        assert 0 <= part.discount.amount <= part.subtotal.amount
        assert part.total.amount >= 0
        assert 0 <= part.tax.amount <= part.total.amount
        assert all(one.amount.amount > 0 for one in part.discounts)
    for charge in asked.shipping:
        assert 0 <= charge.discount.amount <= charge.price.amount


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_lines_and_promotions_changes_nothing(world: tuple[QuoteRequest, InForce], random: object) -> None:
    request, terms_in_force = world
    places = list(range(len(request.lines)))
    random.shuffle(places)  # type: ignore[attr-defined]
    offers = list(terms_in_force.promotions)
    random.shuffle(offers)  # type: ignore[attr-defined]
    there = make_quote(request, terms_in_force)
    lines = tuple(request.lines[place] for place in places)
    shuffled = QuoteRequest(request.currency, lines, request.shipping[::-1], country=request.country, region=request.region)
    back = make_quote(shuffled, InForce(NOW, tuple(offers), tax_rates=terms_in_force.tax_rates, tax_excluded_in=("US",)))
    assert amounts(back) == amounts(there)
    assert sorted(map(repr, back.lines)) == sorted(map(repr, there.lines))


@given(worlds())
def test_tax_included_and_tax_on_top_agree(world: tuple[QuoteRequest, InForce]) -> None:
    """The tax on top of a net price, read back out of the gross price that it makes, is the same to half a unit of rounding."""
    request, terms_in_force = world
    if request.country is None:
        return
    for one in make_quote(request, InForce(NOW, tax_rates=terms_in_force.tax_rates, tax_excluded_in=(request.country,))).lines:
        gross = PricedLine(one.sku, UUID(int=1), ANNA, (), "standard", 1, one.total)
        flat = (rate(one.tax_rate, request.country, reason=None if one.tax_rate else "exempt"),)
        (back,) = make_quote(QuoteRequest(request.currency, (gross,), country=request.country), InForce(NOW, tax_rates=flat)).lines
        assert back.total == one.total
        assert back.tax == one.tax


@given(worlds())
def test_the_buyer_never_pays_more_than_with_the_best_promotion_alone(world: tuple[QuoteRequest, InForce]) -> None:
    request, terms_in_force = world
    together = make_quote(request, terms_in_force)
    for offer in terms_in_force.promotions:
        alone = make_quote(request, InForce(NOW, (offer,)))
        # Sharing out rounds each line by less than a unit.
        assert together.discount.amount >= alone.discount.amount - len(request.lines)


@given(worlds())
def test_a_line_with_a_discount_that_stands_alone_has_one(world: tuple[QuoteRequest, InForce]) -> None:
    request, terms_in_force = world
    lonely = {offer.id for offer in terms_in_force.promotions if not offer.combinable}
    for one in make_quote(request, terms_in_force).lines:
        ids = [discount.promotion_id for discount in one.discounts]
        assert len(ids) == len(set(ids))
        assert not lonely.intersection(ids) or len(ids) == 1


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), PPM)
@settings(max_examples=300)
def test_a_percentage_is_exact_over_the_whole_cart(prices: list[int], rate_ppm: int) -> None:
    lines = tuple(PricedLine(str(at), UUID(int=at), ANNA, (), "standard", 1, Money(price, "EUR")) for at, price in enumerate(prices))
    asked = make_quote(QuoteRequest("EUR", lines), InForce(NOW, (promotion(rate_ppm=rate_ppm),)))
    assert abs(asked.discount.amount * 1_000_000 - sum(prices) * rate_ppm) <= 500_000
    for one in asked.lines:  # and fair: each line's share is less than a unit off
        assert abs(one.discount.amount * 1_000_000 - one.subtotal.amount * rate_ppm) <= 1_500_000
