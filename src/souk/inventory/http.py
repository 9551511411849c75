"""Stores, stock, movements, alerts and who waits for stock over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, Parameter

from souk.inventory import alerts, availability, counting, movements, stores, subscriptions
from souk.inventory.alerts import AlertStatus
from souk.inventory.types import (
    SKU,
    Alert,
    Count,
    Movement,
    NewMovement,
    NewStore,
    RecordedMovement,
    Stock,
    StockCount,
    StockSubscription,
    Store,
    StoreAvailability,
    StoreChange,
    Threshold,
    WantedSku,
)
from souk.kit.http import PUBLIC, SIGNED_IN, Cursor, Limit, Page, route

SkuOf = Annotated[str, Parameter(min_length=1, max_length=100, pattern=SKU, description="The variant's SKU")]
OnlySku = Annotated[str | None, Parameter(min_length=1, max_length=100, pattern=r"^[^\x00]+$", description="Only of this SKU")]
OnlySeller = Annotated[UUID | None, Parameter(description="Only stores of this seller")]


@route("POST", "/stores", SIGNED_IN)
async def create_store(data: JSONBody[NewStore]) -> Store:
    """Open a store. Send an Idempotency-Key: a repeated request opens it once."""
    return await stores.create_store(data)


@route("GET", "/stores", SIGNED_IN)
async def list_stores(seller_id: OnlySeller = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Store]:
    """Your stores; all of them for an admin."""
    return await stores.list_stores(seller_id, limit, cursor)


@route("GET", "/stores/{store_id:uuid}", SIGNED_IN)
async def get_store(store_id: FromPath[UUID]) -> Store:
    """A store of yours."""
    return await stores.get_store(store_id)


@route("PATCH", "/stores/{store_id:uuid}", SIGNED_IN)
async def update_store(store_id: FromPath[UUID], data: JSONBody[StoreChange]) -> Store:
    """Change the fields that are sent; with `version`, only if nobody has changed the store since you read it."""
    return await stores.update_store(store_id, data)


@route("DELETE", "/stores/{store_id:uuid}", SIGNED_IN)
async def delete_store(store_id: FromPath[UUID]) -> None:
    """Close an empty store for good."""
    await stores.delete_store(store_id)


@route("GET", "/stores/{store_id:uuid}/stock", SIGNED_IN)
async def list_stock(store_id: FromPath[UUID], limit: Limit = 20, cursor: Cursor = None) -> Page[Stock]:
    """What lies in a store, by SKU."""
    return await counting.list_stock(store_id, limit, cursor)


@route("GET", "/stores/{store_id:uuid}/stock/{sku:str}", SIGNED_IN)
async def get_stock(store_id: FromPath[UUID], sku: SkuOf) -> Stock:
    """What lies in a store of one SKU."""
    return await counting.get_stock(store_id, sku)


@route("PUT", "/stores/{store_id:uuid}/stock/{sku:str}", SIGNED_IN)
async def set_stock(store_id: FromPath[UUID], sku: SkuOf, data: JSONBody[Count]) -> Stock:
    """Write down how many pieces were counted; what is set aside for orders cannot be counted away."""
    return await counting.set_stock(StockCount(store_id, sku, data.on_hand), data.reason)


@route("PUT", "/stores/{store_id:uuid}/stock/{sku:str}/threshold", SIGNED_IN)
async def set_threshold(store_id: FromPath[UUID], sku: SkuOf, data: JSONBody[Threshold]) -> Stock:
    """Say at how many available pieces you want to be told."""
    return await counting.set_threshold(store_id, sku, data.threshold)


@route("POST", "/stores/{store_id:uuid}/movements", SIGNED_IN)
async def record_movement(store_id: FromPath[UUID], data: JSONBody[NewMovement]) -> RecordedMovement:
    """Receive, adjust or transfer pieces. Send an Idempotency-Key: a repeated request moves them once."""
    return await movements.record_movement(store_id, data)


@route("GET", "/stores/{store_id:uuid}/movements", SIGNED_IN)
async def list_movements(store_id: FromPath[UUID], sku: OnlySku = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Movement]:
    """What came to a store and left it, the newest first."""
    return await movements.list_movements(store_id, sku, limit, cursor)


@route("GET", "/inventory/alerts", SIGNED_IN)
async def list_alerts(status: FromQuery[AlertStatus] = "open", limit: Limit = 20, cursor: Cursor = None) -> Page[Alert]:
    """Stock of yours that has fallen to its threshold, the newest first."""
    return await alerts.list_alerts(status, limit, cursor)


@route("GET", "/products/{product_id:uuid}/availability", PUBLIC)
async def list_product_availability(product_id: FromPath[UUID], limit: Limit = 100, cursor: Cursor = None) -> Page[StoreAvailability]:
    """What can be sold of a product's variants in each store."""
    return await availability.list_product_availability(product_id, limit, cursor)


@route("POST", "/products/{product_id:uuid}/back-in-stock", SIGNED_IN)
async def subscribe_to_stock(product_id: FromPath[UUID], data: JSONBody[WantedSku | None] = None) -> StockSubscription:
    """Be told, once, when there is stock again of what is sold out. A repeated request changes nothing."""
    return await subscriptions.subscribe_to_stock(product_id, data.sku if data else None)


@route("DELETE", "/products/{product_id:uuid}/back-in-stock", SIGNED_IN)
async def unsubscribe_from_stock(product_id: FromPath[UUID], sku: OnlySku = None) -> None:
    """Do not be told any more."""
    await subscriptions.unsubscribe_from_stock(product_id, sku)


@route("GET", "/inventory/subscriptions", SIGNED_IN)
async def list_stock_subscriptions(limit: Limit = 20, cursor: Cursor = None) -> Page[StockSubscription]:
    """What you wait for, the newest first."""
    return await subscriptions.list_stock_subscriptions(limit, cursor)


routes: tuple[BaseRouteHandler, ...] = (
    create_store,
    list_stores,
    get_store,
    update_store,
    delete_store,
    list_stock,
    get_stock,
    set_stock,
    set_threshold,
    record_movement,
    list_movements,
    list_alerts,
    list_product_availability,
    subscribe_to_stock,
    unsubscribe_from_stock,
    list_stock_subscriptions,
)
