"""What tests of inventory share: stores that are filled through the front door, and a look into the books."""

from contextlib import AbstractContextManager
from uuid import UUID

from tests.conftest import asked_by

from souk import inventory
from souk.inventory.database import db
from souk.inventory.types import NewStore, ReserveStock, StockCount, StockLine, Store
from souk.kit.ids import new_id

SELLER = new_id()

# Each lists what contradicts it; a healthy shop has none of them.
BOOKS = {
    "on_hand is the sum of the movements": """
        SELECT s.store_id, s.sku FROM inventory.stock AS s
        WHERE s.on_hand <> (SELECT coalesce(sum(m.delta), 0) FROM inventory.movement AS m WHERE m.store_id = s.store_id AND m.sku = s.sku)
    """,
    "no movement without its level": """
        SELECT m.store_id, m.sku FROM inventory.movement AS m
        LEFT JOIN inventory.stock AS s ON s.store_id = m.store_id AND s.sku = m.sku
        GROUP BY m.store_id, m.sku HAVING sum(m.delta) <> 0 AND count(s.sku) = 0
    """,
    "reserved is what has not left of live reservations": """
        SELECT s.store_id, s.sku FROM inventory.stock AS s
        WHERE s.reserved <> (
            SELECT coalesce(sum(l.quantity - l.shipped), 0) FROM inventory.reservation_line AS l
            JOIN inventory.reservation AS r ON r.order_id = l.order_id AND r.status IN ('held', 'confirmed')
            WHERE l.store_id = s.store_id AND l.sku = s.sku)
    """,
    "what has left of a reservation has its movements": """
        SELECT l.order_id FROM inventory.reservation_line AS l
        WHERE l.shipped <> (SELECT coalesce(-sum(m.delta), 0) FROM inventory.movement AS m
                            WHERE m.order_id = l.order_id AND m.store_id = l.store_id AND m.sku = l.sku AND m.kind = 'shipped')
    """,
    "an alert is open exactly where stock is low": """
        SELECT s.store_id, s.sku FROM inventory.stock AS s
        WHERE coalesce(s.on_hand - s.reserved <= s.threshold, false) <>
              EXISTS (SELECT FROM inventory.alert AS a WHERE a.store_id = s.store_id AND a.sku = s.sku AND a.closed_at IS NULL)
    """,
    "the newest announcement tells what can be sold": """
        SELECT s.store_id, s.sku FROM inventory.stock AS s JOIN inventory.store AS place ON place.id = s.store_id
        WHERE CASE WHEN place.active THEN s.on_hand - s.reserved ELSE 0 END IS DISTINCT FROM coalesce((
            SELECT (level ->> 'available')::bigint
            FROM inventory.outbox AS o, json_array_elements(o.payload -> 'levels') AS level
            WHERE o.type = 'inventory.StockChanged' AND o.aggregate_id = s.store_id AND level ->> 'sku' = s.sku
            ORDER BY (level ->> 'version')::bigint DESC LIMIT 1), 0)
    """,
    "no version is announced twice": """
        SELECT o.aggregate_id, level ->> 'sku' AS sku
        FROM inventory.outbox AS o, json_array_elements(o.payload -> 'levels') AS level
        WHERE o.type = 'inventory.StockChanged'
        GROUP BY o.aggregate_id, level ->> 'sku', level ->> 'version' HAVING count(*) > 1
    """,
}


async def check_books() -> None:
    """Every rule of the books holds."""
    for rule, contradictions in BOOKS.items():
        found = await db.value(f"SELECT count(*) FROM ({contradictions}) AS contradictions")
        assert found == 0, rule


def as_seller(seller_id: UUID = SELLER) -> AbstractContextManager[None]:
    """Whatever runs inside is asked for by somebody who sells for this seller."""
    return asked_by("seller", sells_for=(seller_id,))


async def open_store(seller_id: UUID = SELLER, priority: int = 100) -> Store:
    with as_seller(seller_id):
        return await inventory.create_store(NewStore("A store", "DE", priority))


async def put_in_store(sku: str, pieces: int, seller_id: UUID = SELLER, priority: int = 100) -> UUID:
    """A new store with so many pieces of a SKU in it."""
    store = await open_store(seller_id, priority)
    with as_seller(seller_id):
        await inventory.set_stock(StockCount(store.id, sku, pieces))
    return store.id


async def available(sku: str) -> int:
    return int(await db.value("SELECT sum(on_hand - reserved) FROM inventory.stock WHERE sku = $1", sku))


def ask(*lines: tuple[str, int], seller_id: UUID = SELLER) -> ReserveStock:
    return ReserveStock(new_id(), tuple(StockLine(sku, seller_id, quantity) for sku, quantity in lines))


async def count_events(kind: str) -> int:
    """How many events of this kind were announced."""
    return int(await db.value("SELECT count(*) FROM inventory.outbox WHERE type = $1", f"inventory.{kind}"))
