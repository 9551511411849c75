"""Say what carts cost now, many at once: prices of the catalogue, discounts of pricing, stock of inventory."""

import asyncio
from uuid import UUID

import msgspec

from souk import pricing
from souk.carts.offers import Offers, find_offers, name_of
from souk.carts.reading import StoredCart, StoredItem, find_visible
from souk.carts.types import Cart, CartItem
from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.errors import DomainError, NotFound
from souk.kit.money import Money


@exposed.batched(timeout=5.0, lanes=2)
async def get_cart(asked: tuple[Asked[UUID], ...]) -> tuple[Cart | DomainError, ...]:
    """A cart at the prices of now; shipping and tax are None, for nobody knows yet where it goes.

    What cannot be bought is shown and not `available`; a coupon that cannot be used takes nothing off, and `coupon_problem` says
    why. Changes nothing. Another's cart is NotFound.
    """
    found = await find_visible(asked)
    stored = {cart.id: cart for cart in found if cart is not None}
    offers = await find_offers(item.sku for cart in stored.values() for item in cart.items)
    priced = {cart.id: cart for cart in await price_carts(tuple(stored.values()), offers)}
    return tuple(NotFound() if cart is None else priced[cart.id] for cart in found)


async def price_carts(carts: tuple[StoredCart, ...], offers: Offers) -> tuple[Cart, ...]:
    """What these carts cost."""
    return tuple(await asyncio.gather(*(price_cart(cart, offers) for cart in carts)))


async def price_cart(cart: StoredCart, offers: Offers) -> Cart:
    """What a cart costs."""
    quote, problem = await quote_cart(cart, offers)
    lines = {line.sku: line for line in quote.lines} if quote else {}
    zero = Money(0, cart.currency)
    return Cart(
        id=cart.id,
        user_id=cart.user_id,
        email=cart.email,
        currency=cart.currency,
        items=tuple(show_item(item, lines.get(item.sku), offers, zero) for item in cart.items),
        coupon=cart.coupon,
        coupon_problem=problem,
        subtotal=quote.subtotal if quote else zero,
        discount=quote.discount if quote else zero,
        shipping=quote.shipping_total if quote else None,
        tax=quote.tax if quote else None,
        total=quote.total if quote else zero,
        status=cart.status,
        version=cart.version,
        created_at=cart.created_at,
        updated_at=cart.updated_at,
    )


async def quote_cart(cart: StoredCart, offers: Offers) -> tuple[pricing.Quote | None, str | None]:
    """The quote for what can be bought, if anything can, and why the coupon takes nothing off."""
    request = make_request(cart, offers)
    if not request.lines:
        return None, None
    try:
        return await pricing.quote(request), None
    except pricing.CouponRefused as refusal:
        return await pricing.quote(msgspec.structs.replace(request, coupon=None)), refusal.code


def make_request(cart: StoredCart, offers: Offers) -> pricing.QuoteRequest:
    """What pricing is to be asked: the lines that have a price."""
    lines = []
    for item in cart.items:
        price = offers.price_of(item.sku, cart.currency)
        if price is not None:
            variant = offers.variants[item.sku]
            lines.append(
                pricing.PricedLine(
                    sku=item.sku,
                    product_id=variant.product_id,
                    seller_id=variant.seller_id,
                    category_ids=variant.category_ids,
                    tax_category=variant.tax_category,
                    quantity=item.quantity,
                    unit_price=price,
                )
            )
    return pricing.QuoteRequest(currency=cart.currency, lines=tuple(lines), coupon=cart.coupon, user_id=cart.user_id)


def show_item(item: StoredItem, line: pricing.QuotedLine | None, offers: Offers, zero: Money) -> CartItem:
    """A line of a cart; without a quote it cannot be bought, and counts nothing."""
    variant = offers.variants.get(item.sku)
    return CartItem(
        id=item.id,
        product_id=item.product_id,
        variant_id=item.variant_id,
        sku=item.sku,
        seller_id=item.seller_id,
        name=name_of(variant) if variant else item.name,
        quantity=item.quantity,
        unit_price=line.unit_price if line else None,
        discount=line.discount if line else zero,
        total=line.total if line else zero,
        available=line is not None and offers.has(item.sku, item.seller_id, item.quantity),
        image_url=variant.image_url if variant else None,
        created_at=item.created_at,
        updated_at=item.updated_at,
    )
