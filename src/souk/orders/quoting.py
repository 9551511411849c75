"""What a cart, or an order that is not paid yet, costs at an address: shipping of every seller's part, discounts and tax."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import msgspec

from souk import carts, catalog, pricing, shipping
from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import Caller, caller
from souk.kit.calls import exposed
from souk.kit.ids import new_id
from souk.kit.money import Money, add_up
from souk.orders.types import (
    Address,
    CartEmpty,
    CartQuote,
    ItemsUnavailable,
    OrderItem,
    QuoteCart,
    QuotedPart,
    ShippingChoice,
    UnknownShippingOption,
)


class PricedPart(msgspec.Struct, frozen=True):
    """One seller's part of a priced cart."""

    seller_id: UUID
    options: tuple[shipping.Rate, ...]
    chosen: shipping.Rate | None
    shipping: Money
    tax: Money
    total: Money
    commission: Money
    platform_discount: Money


class Priced(msgspec.Struct, frozen=True):
    """Lines with everything that an order is made of; the items, and what each is filed under, stand as the lines stood."""

    items: tuple[OrderItem, ...]
    categories: tuple[tuple[UUID, ...], ...]
    parts: tuple[PricedPart, ...]
    quote: pricing.Quote


class PricedCart(Priced, frozen=True):
    """A cart with everything that its order will be made of."""

    cart: carts.CartLines


# How the rate of a seller's part is chosen out of those that are offered for it, the cheapest first.
Choose = Callable[[UUID, tuple[shipping.Rate, ...]], shipping.Rate]

# As many SKUs as the catalogue answers at once.
SKUS_AT_ONCE = 500


class Selection(msgspec.Struct, frozen=True):
    """What is to be priced: lines of one currency at these prices, for whom, where to, and with which coupon."""

    currency: str
    lines: tuple[carts.CartLine, ...]
    variants: Mapping[str, catalog.Variant]
    prices: Mapping[str, Money]
    user_id: UUID | None
    coupon: str | None
    address: Address | None
    choose: Choose
    order_id: UUID | None = None


@exposed(timeout=10.0)
async def quote_cart(request: QuoteCart) -> CartQuote:
    """What the cart costs now; without an address shipping and tax are null and left out of the total.

    Changes nothing. Raises NotFound for another's cart, CartEmpty, ItemsUnavailable, and what shipping and pricing refuse.
    """
    priced = await price_cart(request)
    quote = priced.quote
    return CartQuote(
        items=priced.items,
        parts=tuple(show_part(part, known=request.shipping_address is not None) for part in priced.parts),
        subtotal=quote.subtotal,
        discount=quote.discount,
        shipping=quote.shipping_total,
        tax=quote.tax,
        total=quote.total,
        tax_included=quote.tax_included,
        coupon=quote.coupon,
    )


async def price_cart(request: QuoteCart) -> PricedCart:
    """Read the cart and price it: catalogue, then shipping, then discounts and tax."""
    return await _pricing.ask(request, caller())


async def price_carts(asked: tuple[Asked[QuoteCart], ...]) -> Answers[PricedCart]:
    """Price many carts with a question to each context for all of them."""
    found = await carts.get_cart_lines.many([(one.request.cart_id, one.caller) for one in asked])
    variants = await find_variants({line.sku for cart in found if isinstance(cart, carts.CartLines) for line in cart.lines})
    selected = [select_cart(one.request, cart, variants) for one, cart in zip(asked, found, strict=True)]
    wanted = [(one, asker.caller) for one, asker in zip(selected, asked, strict=True) if isinstance(one, Selection)]
    priced = iter(await price_selections(wanted))
    return tuple(add_cart(next(priced), cart) if isinstance(one, Selection) else one for one, cart in zip(selected, found, strict=True))


def add_cart(priced: Priced | Exception, cart: carts.CartLines | Exception) -> PricedCart | Exception:
    assert isinstance(cart, carts.CartLines)  # noqa: S101  else there was nothing to price
    return priced if isinstance(priced, Exception) else PricedCart(priced.items, priced.categories, priced.parts, priced.quote, cart)


_pricing: Batcher[QuoteCart, PricedCart] = Batcher(price_carts)


async def find_variants(skus: set[str]) -> dict[str, catalog.Variant]:
    """The variants of these SKUs that there are."""
    wanted = sorted(skus)
    found: dict[str, catalog.Variant] = {}
    for start in range(0, len(wanted), SKUS_AT_ONCE):
        found |= {variant.sku: variant for variant in await catalog.get_variants(tuple(wanted[start : start + SKUS_AT_ONCE]))}
    return found


def select_cart(request: QuoteCart, cart: carts.CartLines | Exception, variants: Mapping[str, catalog.Variant]) -> Selection | Exception:
    """What is to be priced of a cart, or why it cannot be."""
    if isinstance(cart, Exception):
        return cart
    if not cart.lines:
        return CartEmpty()
    prices: dict[str, Money] = {}
    for line in cart.lines:
        if (variant := variants.get(line.sku)) and (price := price_in(variant, cart.currency)):
            prices[line.sku] = price
    if missing := tuple(line.sku for line in cart.lines if line.sku not in prices):
        return ItemsUnavailable(missing)
    return Selection(
        currency=cart.currency,
        lines=cart.lines,
        variants=variants,
        prices=prices,
        user_id=cart.user_id,
        coupon=request.coupon or cart.coupon,
        address=request.shipping_address,
        choose=lambda seller_id, offered: choose_rate(seller_id, offered, request),
    )


async def price_selection(selection: Selection) -> Priced:
    """Shipping, then discounts and tax; without an address shipping and tax stay open."""
    (priced,) = await price_selections([(selection, caller())])
    if isinstance(priced, Exception):
        raise priced
    return priced


async def price_selections(wanted: Sequence[tuple[Selection, Caller]]) -> list[Priced | Exception]:
    """The prices of what these callers have selected, or why there are none."""
    rated = await rate_selections(wanted)
    asked = [(make_quote_request(one), who) for one, (_, who) in zip(rated, wanted, strict=True) if isinstance(one, Rated)]
    quotes = iter(await pricing.quote.many(asked))
    return [make_priced(one, next(quotes)) if isinstance(one, Rated) else one for one in rated]


async def rate_selections(wanted: Sequence[tuple[Selection, Caller]]) -> list["Rated | Exception"]:
    """What shipping costs, for those who have said where to."""
    found = iter(await shipping.quote_rates.many([(make_rate_request(one, one.address), who) for one, who in wanted if one.address]))
    return [choose_rates(one, next(found) if one.address else ()) for one, _ in wanted]


class Rated(msgspec.Struct, frozen=True):
    """A selection, and how it is shipped: the rates of each seller's part, the cheapest first, and which is taken."""

    selection: Selection
    rates: Mapping[UUID, tuple[shipping.Rate, ...]]
    chosen: Mapping[UUID, shipping.Rate]


def choose_rates(selection: Selection, found: tuple[shipping.SellerRates, ...] | Exception) -> Rated | Exception:
    if isinstance(found, Exception):
        return found
    rates = {one.seller_id: one.rates for one in found}
    try:
        return Rated(selection, rates, {seller_id: selection.choose(seller_id, offered) for seller_id, offered in rates.items()})
    except UnknownShippingOption as refusal:
        return refusal


def price_in(variant: catalog.Variant, currency: str) -> Money | None:
    """The variant's price in this currency, if it can be bought in it now."""
    if not variant.active:
        return None
    return next((price for price in variant.prices if price.currency == currency), None)


def price_line(variant: catalog.Variant, quantity: int, price: Money) -> pricing.PricedLine:
    return pricing.PricedLine(
        sku=variant.sku,
        product_id=variant.product_id,
        seller_id=variant.seller_id,
        category_ids=variant.category_ids,
        tax_category=variant.tax_category,
        quantity=quantity,
        unit_price=price,
    )


def make_rate_request(selection: Selection, address: Address) -> shipping.RateRequest:
    """What is to be asked about shipping: a parcel per seller."""
    weights: defaultdict[UUID, int] = defaultdict(int)
    values: defaultdict[UUID, list[Money]] = defaultdict(list)
    shipped: set[UUID] = set()
    for line in selection.lines:
        variant = selection.variants[line.sku]
        weights[variant.seller_id] += variant.weight_g * line.quantity
        values[variant.seller_id].append(selection.prices[line.sku] * line.quantity)
        if variant.requires_shipping:
            shipped.add(variant.seller_id)
    parcels = tuple(
        shipping.Parcel(seller_id, weight_g, add_up(values[seller_id], selection.currency), seller_id in shipped)
        for seller_id, weight_g in weights.items()
    )
    return shipping.RateRequest(selection.currency, address.country, parcels, address.postal_code)


def make_quote_request(rated: Rated) -> pricing.QuoteRequest:
    selection = rated.selection
    variants, prices, address = selection.variants, selection.prices, selection.address
    return pricing.QuoteRequest(
        currency=selection.currency,
        lines=tuple(price_line(variants[line.sku], line.quantity, prices[line.sku]) for line in selection.lines),
        shipping=tuple(pricing.ShippingCharge(seller_id, rate.price) for seller_id, rate in rated.chosen.items()),
        coupon=selection.coupon,
        user_id=selection.user_id,
        country=address.country if address else None,
        region=address.region if address else None,
        order_id=selection.order_id,
    )


def make_priced(rated: Rated, quote: pricing.Quote | Exception) -> Priced | Exception:
    if isinstance(quote, Exception):
        return quote
    variants = [rated.selection.variants[line.sku] for line in quote.lines]
    items = tuple(make_item(variant, line) for variant, line in zip(variants, quote.lines, strict=True))
    categories = tuple(variant.category_ids for variant in variants)
    return Priced(items, categories, make_parts(quote, items, rated.rates, rated.chosen), quote)


def choose_rate(seller_id: UUID, offered: tuple[shipping.Rate, ...], request: QuoteCart) -> shipping.Rate:
    """The rate that was asked for, or the cheapest."""
    option = (request.shipping_options or {}).get(seller_id) or request.shipping_option
    return offered[0] if option is None else find_offered(seller_id, offered, option)


def find_offered(seller_id: UUID, offered: tuple[shipping.Rate, ...], option: str) -> shipping.Rate:
    """The rate of this option, whatever it is for a part that needs no shipping; raises UnknownShippingOption."""
    for rate in offered:
        if rate.option in (option, "none"):
            return rate
    raise UnknownShippingOption(option, seller_id)


def make_item(variant: catalog.Variant, line: pricing.QuotedLine) -> OrderItem:
    name = f"{variant.product_name}, {variant.name}" if variant.name else variant.product_name
    return OrderItem(
        id=new_id(),
        product_id=variant.product_id,
        variant_id=variant.id,
        seller_id=variant.seller_id,
        sku=line.sku,
        name=name,
        quantity=line.quantity,
        unit_price=line.unit_price,
        discount=line.discount,
        tax=line.tax,
        total=line.total,
        tax_rate_ppm=line.tax_rate,
        image_url=variant.image_url,
    )


def make_parts(
    quote: pricing.Quote,
    items: tuple[OrderItem, ...],
    rates: Mapping[UUID, tuple[shipping.Rate, ...]],
    chosen: Mapping[UUID, shipping.Rate],
) -> tuple[PricedPart, ...]:
    """One part per seller, in the order in which they stand in the cart; the parts' totals add up to the quote's total."""
    zero = Money(0, quote.currency)
    shipped = {one.seller_id: one for one in quote.shipping}
    parts = []
    for seller_id in dict.fromkeys(item.seller_id for item in items):
        own = [(item, line) for item, line in zip(items, quote.lines, strict=True) if item.seller_id == seller_id]
        freight = shipped.get(seller_id)
        tax = add_up((item.tax for item, _ in own), quote.currency) + (freight.tax if freight else zero)
        discounts = [one for _, line in own for one in line.discounts] + list(freight.discounts if freight else ())
        by_platform = (one.amount for one in discounts if one.funded_by == "platform")
        parts.append(
            PricedPart(
                seller_id=seller_id,
                options=rates.get(seller_id, ()),
                chosen=chosen.get(seller_id),
                shipping=freight.price - freight.discount if freight else zero,
                tax=tax,
                total=add_up((item.total for item, _ in own), quote.currency) + (freight.total if freight else zero),
                commission=add_up((line.commission for _, line in own), quote.currency),
                platform_discount=add_up(by_platform, quote.currency),
            )
        )
    return tuple(parts)


def show_part(part: PricedPart, *, known: bool) -> QuotedPart:
    return QuotedPart(
        seller_id=part.seller_id,
        options=tuple(ShippingChoice(rate.option, rate.name, rate.price, rate.days_min, rate.days_max) for rate in part.options),
        shipping_option=part.chosen.option if part.chosen else None,
        shipping=part.shipping if known else None,
        total=part.total,
    )
