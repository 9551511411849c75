"""The vocabulary of carts: what a buyer puts in, what a cart looks like, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict, InvalidField
from souk.kit.money import Currency, Money

CartStatus = Literal["active", "ordered", "merged"]

MOST_PIECES = 999
MOST_LINES = 100

Sku = Annotated[str, Meta(min_length=1, max_length=100, description="the variant's SKU", examples=["MUG-BLUE"])]
Quantity = Annotated[int, Meta(ge=1, le=MOST_PIECES, description="how many pieces", examples=[2])]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+(?!\s)$", examples=["guest@example.com"])]
Code = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\S", examples=["WELCOME10"])]


class NewItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces of a SKU that are to go into a cart."""

    sku: Sku
    quantity: Quantity = 1


NewItems = Annotated[tuple[NewItem, ...], Meta(max_length=MOST_LINES, description="SKUs that come twice are added up")]


class NewCart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cart that is to be made; without a currency it gets the shop's own."""

    items: NewItems = ()
    currency: Currency | None = None
    email: Email | None = None


class CartChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a cart: the currency that it is priced in, the address of a guest."""

    currency: Currency | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET


class ItemChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many pieces of an item there are to be."""

    quantity: Quantity


class CouponCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A coupon."""

    code: Code


class CartItem(msgspec.Struct, frozen=True):
    """A line of a cart at the price of now. What cannot be bought now stays, is not `available`, and without a price counts nothing."""

    id: UUID
    product_id: UUID
    variant_id: UUID
    sku: str
    seller_id: UUID
    name: str
    quantity: int
    unit_price: Money | None
    discount: Money
    total: Money
    available: bool
    image_url: str | None
    created_at: datetime
    updated_at: datetime


class Cart(msgspec.Struct, frozen=True):
    """A cart and what it costs now; shipping and tax are known when it is known where it goes."""

    id: UUID
    user_id: UUID | None
    email: str | None
    currency: str
    items: tuple[CartItem, ...]
    coupon: str | None
    coupon_problem: str | None
    subtotal: Money
    discount: Money
    shipping: Money | None
    tax: Money | None
    total: Money
    status: CartStatus
    version: int
    created_at: datetime
    updated_at: datetime
    token: str | UnsetType = UNSET


class CartLine(msgspec.Struct, frozen=True):
    """So many pieces of a SKU."""

    sku: str
    quantity: int


class CartLines(msgspec.Struct, frozen=True):
    """What lies in a cart, without prices: what an order is made of."""

    id: UUID
    user_id: UUID | None
    currency: str
    coupon: str | None
    lines: tuple[CartLine, ...]
    guest_token_hash: str | None
    version: int
    status: CartStatus


class CartClosed(Conflict, code="carts.closed"):
    """This cart is {state}: it cannot be changed any more."""

    state: CartStatus


class CartEmpty(Conflict, code="carts.empty"):
    """There is nothing in this cart that can be bought."""


class TooManyLines(Conflict, code="carts.too_many_lines"):
    """A cart has at most {limit} lines."""

    limit: int


class TooManyPieces(Conflict, code="carts.too_many_pieces"):
    """There would be more than {limit} pieces of {sku} in this cart."""

    sku: str
    limit: int


class UnknownSku(InvalidField, code="carts.unknown_sku"):
    """{field}: {reason}."""


class PriceMissing(InvalidField, code="carts.price_missing"):
    """{field}: {reason}."""


class UnknownCurrency(InvalidField, code="carts.unknown_currency"):
    """{field}: {reason}."""
