"""Who waits for what is sold out, and is told once when it is back. Users only: a guest has no more than an address."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

import msgspec

from souk.inventory.database import db
from souk.inventory.events import BackInStock
from souk.inventory.types import InStock, StockSubscription, TooManySubscriptions
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import publish
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.ids import new_id
from souk.kit.personal import exports_user_data

# Whoever subscribes holds this until the row is there for all to see; whoever tells waits for that, and nobody falls between.
KEEP_TELLER_OUT = "SELECT pg_advisory_xact_lock_shared(hashtext('inventory.subscription'))"
KEEP_SUBSCRIBERS_OUT = "SELECT pg_advisory_xact_lock(hashtext('inventory.subscription'))"
FIND_SKUS = "SELECT sku FROM inventory.item WHERE product_id = $1 ORDER BY sku LIMIT 1000"
FIND_IN_STOCK = """
    SELECT DISTINCT s.sku FROM inventory.stock AS s
    JOIN inventory.item AS i ON i.sku = s.sku AND i.seller_id = s.seller_id
    JOIN inventory.store AS place ON place.id = s.store_id AND place.active
    WHERE s.sku = ANY($1) AND s.on_hand > s.reserved
"""
COUNT = "SELECT count(*) FROM inventory.subscription WHERE user_id = $1"
SUBSCRIBE = "INSERT INTO inventory.subscription (sku, user_id, product_id, id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
FIND = "SELECT product_id, sku, created_at FROM inventory.subscription WHERE sku = $1 AND user_id = $2"
UNSUBSCRIBE = "DELETE FROM inventory.subscription WHERE user_id = $1 AND product_id = $2 AND ($3::text IS NULL OR sku = $3)"
LIST = "SELECT id, product_id, sku, created_at FROM inventory.subscription WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
LIST_OF_USER = "SELECT product_id, sku, created_at FROM inventory.subscription WHERE user_id = $1 ORDER BY id LIMIT 100000"
# Those who wait longest first.
TAKE_WAITING = """
    DELETE FROM inventory.subscription WHERE (sku, user_id) IN (
        SELECT sku, user_id FROM inventory.subscription WHERE sku = ANY($1) ORDER BY sku, id LIMIT $2 FOR UPDATE)
    RETURNING id, product_id, sku, user_id
"""
FORGET_VARIANTS = """
    DELETE FROM inventory.subscription AS w USING unnest($1::text[], $2::uuid[]) AS u (sku, product_id)
    WHERE w.sku = u.sku AND w.product_id = u.product_id
"""
FORGET_USERS = "DELETE FROM inventory.subscription WHERE user_id = ANY($1)"

# How many one transaction tells, and so one event at the most.
TOLD_AT_ONCE = 500
MOST_SUBSCRIPTIONS = 500
NEWEST = UUID(int=2**128 - 1)


class _Sku(msgspec.Struct, frozen=True):
    sku: str


class _Listed(StockSubscription, frozen=True, kw_only=True):
    id: UUID


class _Waiting(msgspec.Struct, frozen=True):
    id: UUID
    product_id: UUID
    sku: str
    user_id: UUID


@exposed()
async def subscribe_to_stock(product_id: UUID, sku: str | None) -> StockSubscription:
    """Let the caller be told, once, when there is stock again of a product's SKU. Again changes nothing.

    Raises NotFound for a product without this SKU, InvalidField where there are several and none is named, InStock, and
    TooManySubscriptions.
    """
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        chosen = choose_sku([row.sku for row in await tx.all(_Sku, FIND_SKUS, product_id)], sku)
        await tx.run(KEEP_TELLER_OUT)
        if await tx.all(_Sku, FIND_IN_STOCK, [chosen]):
            raise InStock(chosen)
        known = await tx.maybe(StockSubscription, FIND, chosen, user_id)
        if known is not None:
            return known
        # Two requests at once may come to one more than that; it is there against thousands.
        if await tx.value(COUNT, user_id) >= MOST_SUBSCRIPTIONS:
            raise TooManySubscriptions(MOST_SUBSCRIPTIONS)
        await tx.run(SUBSCRIBE, chosen, user_id, product_id, new_id())
        return await tx.one(StockSubscription, FIND, chosen, user_id)


@exposed()
async def unsubscribe_from_stock(product_id: UUID, sku: str | None) -> None:
    """Do not tell the caller of a SKU, or of any of the product's; again changes nothing."""
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        await tx.run(UNSUBSCRIBE, user_id, product_id, sku)


@exposed()
async def list_stock_subscriptions(limit: int, cursor: str | None) -> Page[StockSubscription]:
    """What the caller waits for, the newest first. Changes nothing."""
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    rows = await db.all(_Listed, LIST, caller().principal.require_user(), before, limit + 1)
    page = make_page(rows, limit, lambda row: (row.id,))
    return Page(tuple(StockSubscription(row.product_id, row.sku, row.created_at) for row in page.items), page.next)


async def tell_subscribers(skus: Collection[str]) -> int:
    """Tell everybody who waits for one of these SKUs, if it can be sold now; how many. Some hundred a transaction: each is told once."""
    told = 0
    while True:
        async with db.transaction() as tx:
            page = await tell_some(tx, sorted(set(skus)))
        told += page
        if page < TOLD_AT_ONCE:
            return told


async def tell_some(tx: Transaction, skus: Sequence[str]) -> int:
    """Tell those who wait longest, as many as fit into a transaction; how many."""
    await tx.run(KEEP_SUBSCRIBERS_OUT)
    # What has sold out again meanwhile keeps its subscribers.
    back = [row.sku for row in await tx.all(_Sku, FIND_IN_STOCK, skus)]
    waiting = await tx.all(_Waiting, TAKE_WAITING, back, TOLD_AT_ONCE)
    users: defaultdict[tuple[UUID, str], list[UUID]] = defaultdict(list)
    for one in sorted(waiting, key=lambda one: one.id):
        users[one.product_id, one.sku].append(one.user_id)
    await publish(tx, *(BackInStock(product_id, sku, tuple(those)) for (product_id, sku), those in users.items()))
    return len(waiting)


async def forget_variants(tx: Transaction, gone: Collection[tuple[str, UUID]]) -> None:
    """Nobody can wait for a SKU that its product does not have any more."""
    await tx.run(FORGET_VARIANTS, [sku for sku, _ in gone], [product_id for _, product_id in gone])


@exports_user_data
async def export_subscriptions(user_id: UUID) -> dict[str, object]:
    """What a user waits for."""
    return {"stock_subscriptions": await db.all(StockSubscription, LIST_OF_USER, user_id)}


async def forget_users(tx: Transaction, user_ids: list[UUID]) -> None:
    """Forget what people who are gone were waiting for."""
    await tx.run(FORGET_USERS, user_ids)


def choose_sku(skus: Sequence[str], wanted: str | None) -> str:
    """The SKU of a product that is meant; raises NotFound, and InvalidField where one has to be named."""
    if wanted is not None and wanted in skus:
        return wanted
    if wanted is not None or not skus:
        raise NotFound
    if len(skus) > 1:
        raise InvalidField("sku", "is missing: say for which variant")
    return skus[0]
