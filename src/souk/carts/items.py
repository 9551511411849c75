"""What lies in carts: put in, change, take out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from souk import catalog
from souk.carts import keys
from souk.carts.changing import lock_open_cart, touch_cart
from souk.carts.database import db
from souk.carts.offers import Offers, find_offers, name_of
from souk.carts.totals import get_cart
from souk.carts.types import MOST_LINES, MOST_PIECES, Cart, NewItem, PriceMissing, TooManyLines, TooManyPieces, UnknownSku
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import InvalidField, NotFound
from souk.kit.ids import new_id

# What was there already is added to.
WRITE_ITEMS = """
    INSERT INTO carts.cart_item AS i (cart_id, sku, id, product_id, variant_id, seller_id, name, quantity)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::bigint[])
    ON CONFLICT (cart_id, sku) DO UPDATE SET quantity = i.quantity + excluded.quantity, updated_at = now()
"""
ITEM_COLUMNS = ("cart_id", "sku", "id", "product_id", "variant_id", "seller_id", "name", "quantity")
SET_QUANTITY = "UPDATE carts.cart_item SET quantity = $3, updated_at = now() WHERE cart_id = $1 AND id = $2"
REMOVE_ITEM = "DELETE FROM carts.cart_item WHERE cart_id = $1 AND id = $2"
REMOVE_ITEMS = "DELETE FROM carts.cart_item WHERE cart_id = $1"


class Item(msgspec.Struct, frozen=True):
    """A line that is to be written."""

    cart_id: UUID
    sku: str
    id: UUID
    product_id: UUID
    variant_id: UUID
    seller_id: UUID
    name: str
    quantity: int


@exposed()
async def add_cart_item(cart_id: UUID, new: NewItem) -> Cart:
    """Put pieces of a SKU into a cart; they are added to those that are there.

    The same Idempotency-Key puts them in once. Raises NotFound for another's cart, CartClosed, UnknownSku and PriceMissing for what
    cannot be bought, TooManyLines, TooManyPieces.
    """
    offers = await find_offers([new.sku])
    async with db.transaction() as tx:
        cart = await lock_open_cart(tx, cart_id)
        (item,) = make_items(cart.id, cart.currency, {"sku": new}, offers)
        if await keys.is_first(tx, cart_id, new):
            there = {one.sku: one.quantity for one in cart.items}
            if there.get(new.sku, 0) + new.quantity > MOST_PIECES:
                raise TooManyPieces(new.sku, MOST_PIECES)
            if len(there.keys() | {new.sku}) > MOST_LINES:
                raise TooManyLines(MOST_LINES)
            await write_items(tx, [item])
            await touch_cart(tx, cart_id)
    return await get_cart(cart_id)


@exposed()
async def set_item_quantity(cart_id: UUID, item_id: UUID, quantity: int) -> Cart:
    """Say how many pieces of an item there are to be. Repeating changes nothing. Raises NotFound, CartClosed."""
    if not 1 <= quantity <= MOST_PIECES:
        raise InvalidField("quantity", f"is to be 1 to {MOST_PIECES}")
    async with db.transaction() as tx:
        cart = await lock_open_cart(tx, cart_id)
        before = next((item.quantity for item in cart.items if item.id == item_id), None)
        if before is None:
            raise NotFound
        if before != quantity:
            await tx.run(SET_QUANTITY, cart_id, item_id, quantity)
            await touch_cart(tx, cart_id)
    return await get_cart(cart_id)


@exposed()
async def remove_cart_item(cart_id: UUID, item_id: UUID) -> Cart:
    """Take an item out. Repeating is NotFound, as is another's cart. Raises CartClosed."""
    async with db.transaction() as tx:
        await lock_open_cart(tx, cart_id)
        if not await tx.run(REMOVE_ITEM, cart_id, item_id):
            raise NotFound
        await touch_cart(tx, cart_id)
    return await get_cart(cart_id)


@exposed()
async def empty_cart(cart_id: UUID) -> Cart:
    """Take everything out. Repeating changes nothing. Another's cart is NotFound. Raises CartClosed."""
    async with db.transaction() as tx:
        await lock_open_cart(tx, cart_id)
        if await tx.run(REMOVE_ITEMS, cart_id):
            await touch_cart(tx, cart_id)
    return await get_cart(cart_id)


async def write_items(tx: Transaction, items: Iterable[Item]) -> None:
    """Put lines into carts, added to what is there; a cart and a SKU come once."""
    await tx.run(WRITE_ITEMS, *columns(tuple(items), *ITEM_COLUMNS))


def make_items(cart_id: UUID, currency: str, asked: Mapping[str, NewItem], offers: Offers) -> tuple[Item, ...]:
    """The lines that are asked for, one per SKU; refusals name the field that each came in.

    Raises UnknownSku and PriceMissing for what cannot be bought, TooManyPieces.
    """
    quantities: defaultdict[str, int] = defaultdict(int)
    for field, new in asked.items():
        variant = offers.variants.get(new.sku)
        if variant is None or not variant.active:
            raise UnknownSku(field, f"{new.sku} is not for sale")
        if offers.price_of(new.sku, currency) is None:
            raise PriceMissing(field, f"{new.sku} has no price in {currency}")
        quantities[new.sku] += new.quantity
        if quantities[new.sku] > MOST_PIECES:
            raise TooManyPieces(new.sku, MOST_PIECES)
    return tuple(make_item(cart_id, offers.variants[sku], quantity) for sku, quantity in quantities.items())


def make_item(cart_id: UUID, variant: catalog.Variant, quantity: int) -> Item:
    return Item(
        cart_id=cart_id,
        sku=variant.sku,
        id=new_id(),
        product_id=variant.product_id,
        variant_id=variant.id,
        seller_id=variant.seller_id,
        name=name_of(variant),
        quantity=quantity,
    )
