"""Carts knows what guests and users mean to buy, until it is ordered."""

from souk.carts.changing import delete_cart, update_cart
from souk.carts.coupons import clear_cart_coupon, set_cart_coupon
from souk.carts.creating import create_cart
from souk.carts.items import add_cart_item, empty_cart, remove_cart_item, set_item_quantity
from souk.carts.listing import list_carts
from souk.carts.merging import claim_cart, get_current_cart
from souk.carts.reading import get_cart_lines
from souk.carts.totals import get_cart
from souk.carts.types import (
    Cart,
    CartChange,
    CartClosed,
    CartEmpty,
    CartItem,
    CartLine,
    CartLines,
    NewCart,
    NewItem,
    PriceMissing,
    TooManyLines,
    TooManyPieces,
    UnknownCurrency,
    UnknownSku,
)

__all__ = [
    "Cart",
    "CartChange",
    "CartClosed",
    "CartEmpty",
    "CartItem",
    "CartLine",
    "CartLines",
    "NewCart",
    "NewItem",
    "PriceMissing",
    "TooManyLines",
    "TooManyPieces",
    "UnknownCurrency",
    "UnknownSku",
    "add_cart_item",
    "claim_cart",
    "clear_cart_coupon",
    "create_cart",
    "delete_cart",
    "empty_cart",
    "get_cart",
    "get_cart_lines",
    "get_current_cart",
    "list_carts",
    "remove_cart_item",
    "set_cart_coupon",
    "set_item_quantity",
    "update_cart",
]
