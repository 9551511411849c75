"""Inventory knows stores, how many pieces of each SKU lie in them, and which of those are set aside for an order."""

from souk.inventory.reservations import confirm_stock, release_stock, reserve_stock
from souk.inventory.types import (
    ConfirmStock,
    OutOfStock,
    ReleaseStock,
    Reservation,
    ReservedLine,
    ReserveStock,
    Shortage,
    StockLine,
)

__all__ = [
    "ConfirmStock",
    "OutOfStock",
    "ReleaseStock",
    "Reservation",
    "ReserveStock",
    "ReservedLine",
    "Shortage",
    "StockLine",
    "confirm_stock",
    "release_stock",
    "reserve_stock",
]
