"""Tell sellers that stock has fallen to its threshold: once per store and SKU, until there is more again."""

from typing import Literal
from uuid import UUID

import msgspec

from souk.inventory.database import db
from souk.inventory.events import StockLow, StockRecovered
from souk.inventory.types import Alert
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.events import Event
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.ids import new_id

OPEN_ALERTS = """
    INSERT INTO inventory.alert (id, store_id, seller_id, sku, available, threshold)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[])
    ON CONFLICT (store_id, sku) WHERE closed_at IS NULL DO NOTHING
    RETURNING store_id, seller_id, sku, available, threshold
"""
CLOSE_ALERTS = """
    UPDATE inventory.alert AS a SET closed_at = now(), updated_at = now()
    FROM unnest($1::uuid[], $2::text[]) AS u (store_id, sku)
    WHERE a.store_id = u.store_id AND a.sku = u.sku AND a.closed_at IS NULL
    RETURNING a.store_id, a.sku
"""
LIST_ALERTS = """
    SELECT id, store_id, seller_id, sku, available, threshold, closed_at, created_at, updated_at
    FROM inventory.alert
    WHERE ($1::uuid[] IS NULL OR seller_id = ANY($1)) AND ($2 = 'all' OR (closed_at IS NULL) = ($2 = 'open')) AND id < $3
    ORDER BY id DESC LIMIT $4
"""

AlertStatus = Literal["open", "closed", "all"]

NEWEST = UUID(int=2**128 - 1)


class Moved(msgspec.Struct, frozen=True):
    """A level after its change, and whether there is an open alert for it."""

    store_id: UUID
    seller_id: UUID
    sku: str
    available: int
    threshold: int | None
    version: int
    active: bool
    alerted: bool

    @property
    def low(self) -> bool:
        return self.threshold is not None and self.available <= self.threshold


@exposed()
async def list_alerts(status: AlertStatus, limit: int, cursor: str | None) -> Page[Alert]:
    """Alerts of the caller's sellers, of all sellers for an admin; the newest first. Changes nothing."""
    who = caller().principal
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    sellers = None if who.is_admin else list(who.seller_ids)
    rows = await db.search(Alert, LIST_ALERTS, sellers, status, before, limit + 1)
    return make_page(rows, limit, lambda alert: (alert.id,))


async def watch_levels(tx: Transaction, moved: tuple[Moved, ...]) -> tuple[Event, ...]:
    """Open and close alerts after levels have changed; the news of it, to be published with the change.

    The levels are locked, so nobody else opens or closes these alerts meanwhile.
    """
    fallen = tuple(row for row in moved if row.low and not row.alerted)
    risen = tuple(row for row in moved if row.alerted and not row.low)
    news: list[Event] = []
    if fallen:
        names = ("store_id", "seller_id", "sku", "available", "threshold")
        news += await tx.all(StockLow, OPEN_ALERTS, [new_id() for _ in fallen], *columns(fallen, *names))
    if risen:
        news += await tx.all(StockRecovered, CLOSE_ALERTS, *columns(risen, "store_id", "sku"))
    return tuple(news)
