"""The vocabulary of stock: lines that are asked for, what was set aside, and why not."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.errors import Conflict

ReservationStatus = Literal["held", "confirmed", "shipped", "released"]


class StockLine(msgspec.Struct, frozen=True):
    """So many pieces of a SKU of this seller."""

    sku: str
    seller_id: UUID
    quantity: int


class ReserveStock(msgspec.Struct, frozen=True):
    """Set all lines of an order aside."""

    order_id: UUID
    lines: tuple[StockLine, ...]


class ConfirmStock(msgspec.Struct, frozen=True):
    """The order is paid: what was set aside stays so. The lines are for the case that it has expired meanwhile."""

    order_id: UUID
    lines: tuple[StockLine, ...]


class ReleaseStock(msgspec.Struct, frozen=True):
    """The order will not happen: give back what was set aside."""

    order_id: UUID


class ReservedLine(msgspec.Struct, frozen=True):
    """Pieces of a SKU that are set aside in one store."""

    store_id: UUID
    sku: str
    quantity: int


class Reservation(msgspec.Struct, frozen=True):
    """What is set aside for an order; `expires_at` is None once it is confirmed."""

    order_id: UUID
    status: ReservationStatus
    expires_at: datetime | None
    lines: tuple[ReservedLine, ...]


class Shortage(msgspec.Struct, frozen=True):
    """A SKU of which there is less than was asked for."""

    sku: str
    asked: int
    available: int


class OutOfStock(Conflict, code="inventory.out_of_stock"):
    """There is not enough stock for this order."""

    shortages: tuple[Shortage, ...]
