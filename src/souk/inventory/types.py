"""The vocabulary of stock: stores, pieces that come and go, lines that are asked for, what was set aside, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict

ReservationStatus = Literal["held", "confirmed", "shipped", "released"]
MovementKind = Literal["received", "adjusted", "transferred", "shipped", "returned"]

MOST_PIECES = 1_000_000_000

# A SKU stands in addresses: no slash, and nothing that is not printed.
SKU = r"^[^/\x00-\x1f\x7f]+(?!\n)$"
Sku = Annotated[str, Meta(min_length=1, max_length=100, pattern=SKU, description="the variant's SKU", examples=["MUG-BLUE"])]
Pieces = Annotated[int, Meta(ge=0, le=MOST_PIECES, examples=[40])]
Reason = Annotated[str, Meta(min_length=1, max_length=500, examples=["delivery 4711"])]
StoreName = Annotated[str, Meta(min_length=1, max_length=200, examples=["Warehouse Leipzig"])]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$", description="ISO 3166-1 alpha-2", examples=["DE"])]
Priority = Annotated[int, Meta(ge=0, le=1_000_000, description="of two stores that have it, the lower number ships", examples=[100])]


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


class ShipStock(msgspec.Struct, frozen=True):
    """A parcel of an order leaves: these lines, or everything that is still set aside for the order.

    A parcel is known by its `shipment_id`; an order that leaves as a whole needs none.
    """

    order_id: UUID
    lines: tuple[StockLine, ...] = ()
    shipment_id: UUID | None = None


class ReservedLine(msgspec.Struct, frozen=True):
    """Pieces of a SKU that are set aside in one store, and how many of them have left."""

    store_id: UUID
    sku: str
    quantity: int
    shipped: int = 0


class Reservation(msgspec.Struct, frozen=True):
    """What is set aside for an order; `expires_at` is None once it is confirmed."""

    order_id: UUID
    status: ReservationStatus
    expires_at: datetime | None
    lines: tuple[ReservedLine, ...]
    shipments: tuple[UUID, ...] = ()


class Confirmation(msgspec.Struct, frozen=True):
    """What is set aside for an order stays so: it is confirmed, or has been shipped already."""

    order_id: UUID
    status: ReservationStatus


class Shortage(msgspec.Struct, frozen=True):
    """A SKU of which there is less than was asked for."""

    sku: str
    asked: int
    available: int


class OutOfStock(Conflict, code="inventory.out_of_stock"):
    """There is not enough stock for this order."""

    shortages: tuple[Shortage, ...]


class NotConfirmed(Conflict, code="inventory.not_confirmed"):
    """Nothing can leave for this order: what was set aside for it is {reservation}."""

    reservation: ReservationStatus


class NotReserved(Conflict, code="inventory.not_reserved"):
    """Only {left} pieces of {sku} are still set aside for this order."""

    sku: str
    asked: int
    left: int


class NewStore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A store that is to be opened; `seller_id` may be left out by who sells for one seller only."""

    name: StoreName
    country: Country
    priority: Priority = 100
    active: bool = True
    seller_id: UUID | None = None


class StoreChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a store, and the version that was read, if nobody else's change is to be overwritten."""

    name: StoreName | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    version: Annotated[int, Meta(ge=1, le=2**53)] | UnsetType = UNSET


class Store(msgspec.Struct, frozen=True):
    """A place where a seller's stock lies. Nothing is sold out of one that is not active."""

    id: UUID
    seller_id: UUID
    name: str
    country: str
    priority: int
    active: bool
    version: int
    created_at: datetime
    updated_at: datetime


class StoreNotEmpty(Conflict, code="inventory.store_not_empty"):
    """There are still {on_hand} pieces of {sku} in this store."""

    sku: str
    on_hand: int


class Stock(msgspec.Struct, frozen=True):
    """How many pieces of a SKU lie in a store, how many of them are set aside, and what is left to sell."""

    store_id: UUID
    seller_id: UUID
    sku: str
    on_hand: int
    reserved: int
    available: int
    threshold: int | None
    version: int
    created_at: datetime
    updated_at: datetime


class StockCount(msgspec.Struct, frozen=True):
    """So many pieces of a SKU were counted in a store."""

    store_id: UUID
    sku: str
    on_hand: Pieces


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces were counted."""

    on_hand: Pieces
    reason: Reason | None = None


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At how many available pieces the seller is to be told; null for never."""

    threshold: Pieces | None


class StockReserved(Conflict, code="inventory.stock_reserved"):
    """{reserved} of {on_hand} pieces of {sku} are set aside for orders; fewer cannot remain."""

    store_id: UUID
    sku: str
    on_hand: int
    reserved: int


class TooManyPieces(Conflict, code="inventory.too_many_pieces"):
    """There are {on_hand} pieces of {sku} already; a store holds no more than a billion of one SKU."""

    sku: str
    on_hand: int


class NewMovement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pieces that come, go, or turn out to be more or fewer than was thought."""

    kind: Annotated[Literal["receive", "adjust", "transfer"], Meta(examples=["receive"])]
    sku: Sku
    quantity: Annotated[int, Meta(ge=-MOST_PIECES, le=MOST_PIECES, description="below zero only to adjust", examples=[12])]
    reason: Reason
    to_store_id: Annotated[UUID, Meta(description="where a transfer goes: another store of the same seller")] | None = None


class Movement(msgspec.Struct, frozen=True):
    """A change of what lies in a store. It is never changed itself."""

    id: UUID
    store_id: UUID
    sku: str
    kind: MovementKind
    quantity: int
    reason: str
    order_id: UUID | None
    actor_id: UUID | None
    other_store_id: UUID | None
    created_at: datetime


class RecordedMovement(msgspec.Struct, frozen=True):
    """What was written: one movement, or the two of a transfer, and the stock after them."""

    movements: tuple[Movement, ...]
    stock: tuple[Stock, ...]


class Alert(msgspec.Struct, frozen=True):
    """Stock that fell to its threshold; open until there is more again."""

    id: UUID
    store_id: UUID
    seller_id: UUID
    sku: str
    available: int
    threshold: int
    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class WantedSku(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which variant of a product is waited for; may be left out for a product that has one only."""

    sku: Sku | None = None


class StockSubscription(msgspec.Struct, frozen=True):
    """A user who waits for a SKU that is sold out."""

    product_id: UUID
    sku: str
    created_at: datetime


class InStock(Conflict, code="inventory.in_stock"):
    """{sku} is in stock."""

    sku: str


class TooManySubscriptions(Conflict, code="inventory.too_many_subscriptions"):
    """A user waits for at most {most} SKUs."""

    most: int


class Availability(msgspec.Struct, frozen=True):
    """What a seller can sell of a SKU, over all of their active stores."""

    sku: str
    seller_id: UUID
    available: int


class StoreAvailability(msgspec.Struct, frozen=True):
    """What can be sold of a SKU in one store."""

    sku: str
    store_id: UUID
    name: str
    country: str
    available: int
    updated_at: datetime
