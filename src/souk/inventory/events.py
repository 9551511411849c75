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


class StockArrived(Event, frozen=True):
    """A store can sell pieces of these SKUs, of which it had none to sell."""

    store_id: UUID
    seller_id: UUID
    skus: tuple[str, ...]


class BackInStock(Event, frozen=True):
    """There is stock again of a SKU that was sold out, and these users wanted to know. Each is told once."""

    product_id: UUID
    sku: str
    user_ids: tuple[UUID, ...]


class StockLow(Event, frozen=True):
    """What is available of a SKU in a store has fallen to its threshold. Told once, until it recovers."""

    store_id: UUID
    seller_id: UUID
    sku: str
    available: int
    threshold: int


class StockRecovered(Event, frozen=True):
    """There is more than the threshold again."""

    store_id: UUID
    sku: str
