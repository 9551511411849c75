"""Stores: the places where sellers keep their stock."""

from collections.abc import Iterable
from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.inventory import levels
from souk.inventory.database import db
from souk.inventory.types import NewStore, Stock, Store, StoreChange, StoreNotEmpty
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound, Stale
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.kit.ids import new_id

STORE = "id, seller_id, name, country, priority, active, version, created_at, updated_at"
CREATE_STORE = f"""
    INSERT INTO inventory.store (id, seller_id, name, country, priority, active) VALUES ($1, $2, $3, $4, $5, $6) RETURNING {STORE}
"""
FIND_STORE = f"SELECT {STORE} FROM inventory.store WHERE id = $1"
LOCK_STORE = f"{FIND_STORE} FOR UPDATE"
# Stores that are not to go while something is brought there.
KEEP_STORES = f"SELECT {STORE} FROM inventory.store WHERE id = ANY($1) ORDER BY id FOR KEY SHARE"
LIST_STORES = f"""
    SELECT {STORE} FROM inventory.store
    WHERE ($1::uuid[] IS NULL OR seller_id = ANY($1)) AND id > $2
    ORDER BY id LIMIT $3
"""
CHANGE_STORE = f"""
    UPDATE inventory.store
    SET name = $2, country = $3, priority = $4, active = $5, version = version + 1, updated_at = now()
    WHERE id = $1
    RETURNING {STORE}
"""
FIND_REST = f"SELECT {levels.STOCK} FROM inventory.stock AS s WHERE s.store_id = $1 AND s.on_hand > 0 ORDER BY s.sku LIMIT 1"
FORGET_LEVELS = "DELETE FROM inventory.stock WHERE store_id = $1"
CLOSE_STORE_ALERTS = "UPDATE inventory.alert SET closed_at = now(), updated_at = now() WHERE store_id = $1 AND closed_at IS NULL"
FORGET_STORE = "DELETE FROM inventory.store WHERE id = $1"

FIRST = UUID(int=0)


@exposed()
async def create_store(request: NewStore) -> Store:
    """Open a store for one of the caller's sellers; an admin may open one for any.

    The same Idempotency-Key opens it once. Raises Forbidden for who sells nothing, NotFound for another's seller.
    """
    seller_id = choose_seller(request.seller_id)

    async def work(tx: Transaction) -> Store:
        values = (request.name, request.country, request.priority, request.active)
        return await tx.one(Store, CREATE_STORE, new_id(), seller_id, *values)

    return await once(db, request, work)


@exposed()
async def get_store(store_id: UUID) -> Store:
    """A store of the caller's; another's is NotFound. Changes nothing."""
    return check_owner(await db.maybe(Store, FIND_STORE, store_id))


@exposed()
async def list_stores(seller_id: UUID | None, limit: int, cursor: str | None) -> Page[Store]:
    """Stores of the caller's sellers, of all sellers for an admin, or of one of these; the oldest first. Changes nothing."""
    who = caller().principal
    (after,) = read_cursor(cursor, tuple[UUID]) or (FIRST,)
    sellers = None if who.is_admin else list(who.seller_ids)
    if seller_id is not None:
        sellers = [seller_id] if sellers is None or seller_id in sellers else []
    return make_page(await db.search(Store, LIST_STORES, sellers, after, limit + 1), limit, lambda store: (store.id,))


@exposed()
async def update_store(store_id: UUID, change: StoreChange) -> Store:
    """Change the fields that are given. Nothing is sold out of a store that is not active; what is set aside there stays so.

    Repeating gives the same store, with a version of its own. Raises NotFound, and Stale if a version is given that is not the store's.
    """
    async with db.transaction() as tx:
        store = await lock_store(tx, store_id)
        if change.version not in (UNSET, store.version):
            raise Stale
        given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        wanted = msgspec.structs.replace(store, **given)
        changed = await tx.one(Store, CHANGE_STORE, store_id, wanted.name, wanted.country, wanted.priority, wanted.active)
        if changed.active != store.active:
            await levels.announce_store(tx, store_id)
    return changed


@exposed()
async def delete_store(store_id: UUID) -> None:
    """Close a store for good. Its movements are kept. Raises StoreNotEmpty as long as something lies there, NotFound when it is gone."""
    async with db.transaction() as tx:
        await lock_store(tx, store_id)
        await tx.run(levels.LOCK_STORE_LEVELS, store_id)
        rest = await tx.maybe(Stock, FIND_REST, store_id)
        if rest is not None:
            raise StoreNotEmpty(rest.sku, rest.on_hand)
        await tx.run(FORGET_LEVELS, store_id)
        await tx.run(CLOSE_STORE_ALERTS, store_id)
        await tx.run(FORGET_STORE, store_id)


async def lock_store(tx: Transaction, store_id: UUID) -> Store:
    """A store of the caller's, which nobody else changes until the transaction ends; raises NotFound."""
    return check_owner(await tx.maybe(Store, LOCK_STORE, store_id))


async def keep_stores(tx: Transaction, store_ids: Iterable[UUID]) -> dict[UUID, Store]:
    """These stores, none of which is closed for good until the transaction ends; raises NotFound if one is not the caller's."""
    wanted = set(store_ids)
    found = {store.id: store for store in await tx.all(Store, KEEP_STORES, list(wanted))}
    return {store_id: check_owner(found.get(store_id)) for store_id in wanted}


def check_owner(store: Store | None) -> Store:
    """The store, if it is one of the caller's; raises NotFound."""
    who = caller().principal
    if store is None or not (who.is_admin or who.sells_for(store.seller_id)):
        raise NotFound
    return store


def choose_seller(seller_id: UUID | None) -> UUID:
    """For which seller the caller acts; an admin has to say it."""
    chosen = caller().principal.choose_seller(seller_id)
    if chosen is None:
        raise InvalidField("seller_id", "is missing: say for which seller")
    return chosen
