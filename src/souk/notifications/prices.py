"""Prices of products that somebody keeps in mind: told when one is lower than it was in all of the weeks before."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk import catalog
from souk.kit.db import Transaction, columns
from souk.kit.ids import derive_id, new_id
from souk.notifications import people
from souk.notifications.bells import new_notices
from souk.notifications.database import db
from souk.notifications.limits import limits
from souk.notifications.notices import write_notices
from souk.notifications.types import Content, Notice

KEEP = """
    INSERT INTO notifications.favorite (product_id, user_id)
    SELECT u.* FROM unnest($1::uuid[], $2::uuid[]) AS u (product_id, user_id) ORDER BY u.product_id, u.user_id ON CONFLICT DO NOTHING
"""
FORGET = """
    DELETE FROM notifications.favorite AS f USING unnest($1::uuid[], $2::uuid[]) AS u (product_id, user_id)
    WHERE f.product_id = u.product_id AND f.user_id = u.user_id
"""
# What is watched already is locked: who stops watching it sees that somebody keeps it in mind, or we watch it anew.
WATCH = """
    INSERT INTO notifications.watched_product (product_id) SELECT DISTINCT u FROM unnest($1::uuid[]) AS u ORDER BY u
    ON CONFLICT (product_id) DO UPDATE SET updated_at = now()
"""
NOTE_CHANGES = "UPDATE notifications.watched_product SET changes = changes + 1, updated_at = now() WHERE product_id = ANY($1)"
FIND_CHANGED = "SELECT product_id, changes FROM notifications.watched_product WHERE seen < changes ORDER BY product_id LIMIT $1"
LOCK_WATCHED = "SELECT product_id FROM notifications.watched_product WHERE product_id = ANY($1) ORDER BY product_id FOR UPDATE"
FIND_WANTED = "SELECT DISTINCT product_id FROM notifications.favorite WHERE product_id = ANY($1)"
MARK_SEEN = """
    UPDATE notifications.watched_product AS w SET seen = greatest(w.seen, u.changes), updated_at = now()
    FROM unnest($1::uuid[], $2::bigint[]) AS u (product_id, changes) WHERE w.product_id = u.product_id
"""
UNWATCH = "DELETE FROM notifications.watched_product WHERE product_id = ANY($1)"
FORGET_PRICES = "DELETE FROM notifications.lowest_price WHERE product_id = ANY($1)"
# The lowest now, and the lowest of all that was shown since $2.
FIND_LOWEST = """
    SELECT product_id, currency, min(amount) AS lowest, min(amount) FILTER (WHERE until IS NULL) AS now
    FROM notifications.lowest_price WHERE product_id = ANY($1) AND (until IS NULL OR until > $2)
    GROUP BY product_id, currency
"""
END_PRICES = """
    UPDATE notifications.lowest_price AS p SET until = $3, updated_at = now()
    FROM unnest($1::uuid[], $2::text[]) AS u (product_id, currency)
    WHERE p.product_id = u.product_id AND p.currency = u.currency AND p.until IS NULL
"""
BEGIN_PRICES = """
    INSERT INTO notifications.lowest_price (product_id, currency, amount, since)
    SELECT u.product_id, u.currency, u.amount, $4 FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS u (product_id, currency, amount)
"""
FORGET_OLD_PRICES = "DELETE FROM notifications.lowest_price WHERE until < $1"
REMEMBER_DROPS = """
    INSERT INTO notifications.price_drop (id, product_id, content) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[])
"""
TAKE_DROP = "SELECT id, product_id, content, told_up_to FROM notifications.price_drop ORDER BY id LIMIT 1 FOR UPDATE"
FIND_KEEPERS = """
    SELECT user_id FROM notifications.favorite WHERE product_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3
"""
TELL_ON = "UPDATE notifications.price_drop SET told_up_to = $2, updated_at = now() WHERE id = $1"
END_DROP = "DELETE FROM notifications.price_drop WHERE id = $1"

AT_ONCE = 500


class Favorite(msgspec.Struct, frozen=True):
    """Somebody keeps a product in mind."""

    product_id: UUID
    user_id: UUID


class Lowest(msgspec.Struct, frozen=True):
    """The lowest price of a product in a currency: of late, and now if it has one."""

    product_id: UUID
    currency: str
    lowest: int
    now: int | None


class Shown(msgspec.Struct, frozen=True):
    """What a product costs at the least, in a currency."""

    product_id: UUID
    currency: str
    amount: int


class _Changed(msgspec.Struct, frozen=True):
    product_id: UUID
    changes: int


class _Product(msgspec.Struct, frozen=True):
    product_id: UUID


class _Drop(msgspec.Struct, frozen=True):
    id: UUID
    product_id: UUID
    content: Content
    told_up_to: UUID


class _Keeper(msgspec.Struct, frozen=True):
    user_id: UUID


async def follow_favorites(tx: Transaction, kept: Mapping[Favorite, bool]) -> None:
    """Remember who keeps what in mind, and forget who does not any more."""
    gone = await people.lock_people(tx, sorted({one.user_id for one in kept}))
    added = [one for one, keeps in kept.items() if keeps and one.user_id not in gone]
    await tx.run(KEEP, *columns(added, "product_id", "user_id"))
    await tx.run(FORGET, *columns([one for one, keeps in kept.items() if not keeps], "product_id", "user_id"))
    if added:
        await tx.run(WATCH, [one.product_id for one in added])
        tx.after_commit.append(new_notices.ring)


async def note_changes(tx: Transaction, product_ids: Collection[UUID]) -> None:
    """The prices of these products may be others now."""
    changed = sorted(product_ids)
    await tx.run(LOCK_WATCHED, changed)
    if await tx.run(NOTE_CHANGES, changed):
        tx.after_commit.append(new_notices.ring)


async def compare_prices() -> int:
    """Look at what watched products cost now, and write down what has dropped; at how many we have looked."""
    found = await db.all(_Changed, FIND_CHANGED, AT_ONCE)
    if not found:
        return 0
    products = await catalog.get_products(tuple(one.product_id for one in found))
    now = datetime.now(UTC)
    shown = [price for product in products if product.status == "published" for price in cheapest(product)]
    async with db.transaction() as tx:
        watched = [one.product_id for one in found]
        await tx.run(LOCK_WATCHED, watched)
        wanted = {one.product_id for one in await tx.all(_Product, FIND_WANTED, watched)}
        for statement in (UNWATCH, FORGET_PRICES):
            await tx.run(statement, [product_id for product_id in watched if product_id not in wanted])
        since = now - timedelta(days=limits.now.price_drop_days)
        known = await tx.all(Lowest, FIND_LOWEST, sorted(wanted), since)
        changed = find_changed([price for price in shown if price.product_id in wanted], known)
        await tx.run(END_PRICES, *columns(changed, "product_id", "currency"), now)
        await tx.run(BEGIN_PRICES, *columns(changed, "product_id", "currency", "amount"), now)
        await tx.run(MARK_SEEN, *columns(found, "product_id", "changes"))
        drops = find_drops(changed, known)
        await tx.run(REMEMBER_DROPS, [new_id() for _ in drops], list(drops), list(drops.values()))
    return len(found)


async def tell_of_drops() -> int:
    """Write the notices of the next of those who keep in mind what has dropped; how many."""
    async with db.transaction() as tx:
        drop = await tx.maybe(_Drop, TAKE_DROP)
        if drop is None:
            return 0
        keepers = await tx.all(_Keeper, FIND_KEEPERS, drop.product_id, drop.told_up_to, AT_ONCE)
        now = datetime.now(UTC)
        await write_notices(tx, (make_notice(drop, keeper.user_id, now) for keeper in keepers))
        if len(keepers) < AT_ONCE:
            await tx.run(END_DROP, drop.id)
        else:
            await tx.run(TELL_ON, drop.id, keepers[-1].user_id)
    return len(keepers) or 1


async def forget_old_prices() -> int:
    """Drop prices that lie too far back to be compared with."""
    async with db.transaction() as tx:
        return await tx.run(FORGET_OLD_PRICES, datetime.now(UTC) - timedelta(days=limits.now.price_drop_days))


def cheapest(product: catalog.Product) -> Iterable[Shown]:
    """What the cheapest variant of a product costs, in each currency."""
    lowest: dict[str, int] = {}
    for variant in product.variants:
        for price in variant.prices if not variant.archived else ():
            lowest[price.currency] = min(price.amount, lowest.get(price.currency, price.amount))
    return (Shown(product.id, currency, amount) for currency, amount in sorted(lowest.items()))


def find_changed(shown: Sequence[Shown], known: Sequence[Lowest]) -> list[Shown]:
    """The prices that are not what they were when we last looked."""
    before = {(one.product_id, one.currency): one.now for one in known}
    return [price for price in shown if before.get((price.product_id, price.currency)) != price.amount]


def find_drops(changed: Sequence[Shown], known: Sequence[Lowest]) -> dict[UUID, Content]:
    """What is told of prices that are lower than all that was shown of late. Of what we had not seen before nothing is told."""
    before = {(one.product_id, one.currency): one for one in known}
    drops: defaultdict[UUID, list[Content]] = defaultdict(list)
    for price in changed:
        was = before.get((price.product_id, price.currency))
        if was is not None and price.amount < was.lowest:
            money = {"amount": price.amount, "currency": price.currency}
            drops[price.product_id].append({"price": money, "before": {"amount": was.now or was.lowest, "currency": price.currency}})
    return {product_id: {"product_id": product_id, "prices": prices} for product_id, prices in drops.items()}


def make_notice(drop: _Drop, user_id: UUID, now: datetime) -> Notice:
    """What one of those is told who keep the product in mind."""
    return Notice(derive_id(now, f"{drop.id}/{user_id}"), "price_dropped", drop.id, "user", user_id, drop.content, now)
