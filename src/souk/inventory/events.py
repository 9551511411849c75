"""What inventory announces."""

from uuid import UUID

import msgspec

from souk.kit.events import Event


class StockLevel(msgspec.Struct, frozen=True):
    """What can be sold of a SKU in a store. Of two levels the one with the higher version is newer."""

    sku: str
    available: int
    version: int


class StockChanged(Event, frozen=True):
    """What can be sold in a store has changed."""

    store_id: UUID
    seller_id: UUID
    levels: tuple[StockLevel, ...]
