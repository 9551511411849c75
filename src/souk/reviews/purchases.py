"""Who received what and who sells what, as other contexts told: by that it is known who may review."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.db import Transaction, columns
from souk.kit.errors import NotFound
from souk.kit.partitions import drop_old_partitions
from souk.reviews.database import db
from souk.reviews.settings import settings
from souk.reviews.types import NotPurchased

# Parcels arrive also for who has left: either their purchase is seen and forgotten, or it is seen that they have left.
KEEP_LEAVERS_OUT = "SELECT pg_advisory_xact_lock_shared(hashtext('reviews.departure'))"
KEEP_PURCHASES_OUT = "SELECT pg_advisory_xact_lock(hashtext('reviews.departure'))"
REMEMBER = "INSERT INTO reviews.departure (user_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING"
FORGET_PURCHASES = "DELETE FROM reviews.purchase WHERE user_id = ANY($1)"
# Of what is told of one parcel the earliest arrival counts.
KEEP_PURCHASES = """
    INSERT INTO reviews.purchase AS p (shipment_id, product_id, user_id, seller_id, delivered_at)
    SELECT u.* FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[])
                    AS u (shipment_id, product_id, user_id, seller_id, delivered_at)
    WHERE NOT EXISTS (SELECT FROM reviews.departure AS d WHERE d.user_id = u.user_id)
    ORDER BY u.shipment_id, u.product_id
    ON CONFLICT (shipment_id, product_id) DO UPDATE SET delivered_at = excluded.delivered_at, updated_at = now()
    WHERE excluded.delivered_at < p.delivered_at
"""
FIND_PURCHASE = """
    SELECT seller_id FROM reviews.purchase
    WHERE user_id = $1 AND product_id = $2 AND delivered_at <= now() AND delivered_at > now() - make_interval(days => $3)
    ORDER BY delivered_at DESC LIMIT 1
"""
# A product that is removed waits for those who are just reviewing it, and so sees what they wrote.
LOCK_LISTING = "SELECT seller_id, gone FROM reviews.listing WHERE product_id = $1 FOR SHARE"
KEEP_LISTINGS = """
    INSERT INTO reviews.listing (product_id, seller_id, gone)
    SELECT u.product_id, u.seller_id, $3 FROM unnest($1::uuid[], $2::uuid[]) AS u (product_id, seller_id) ORDER BY u.product_id
    ON CONFLICT (product_id) DO UPDATE SET seller_id = excluded.seller_id, gone = excluded.gone, updated_at = now()
"""
LOCK_REVIEWS = "SELECT id FROM reviews.review WHERE product_id = ANY($1) ORDER BY id FOR UPDATE"
FORGET_REVIEWS = "DELETE FROM reviews.review WHERE product_id = ANY($1)"
FORGET_RATINGS = "DELETE FROM reviews.product_rating WHERE product_id = ANY($1)"
FORGET_FAVORITES = "DELETE FROM reviews.favorite WHERE product_id = ANY($1)"

# A month is that of packing, and who may review is said by the arrival.
LONGEST_WAY_DAYS = 90


class Purchase(msgspec.Struct, frozen=True):
    """A product that a buyer received, in a parcel or, where nothing was shipped, by an order: the beginning of the id is its time.

    What is under way is received when it will have arrived.
    """

    shipment_id: UUID
    product_id: UUID
    user_id: UUID
    seller_id: UUID
    delivered_at: datetime


class Origin(msgspec.Struct, frozen=True):
    """Who sells what is reviewed, and whether it was delivered to who reviews it."""

    seller_id: UUID
    verified: bool


class _Listing(msgspec.Struct, frozen=True):
    seller_id: UUID
    gone: bool


async def find_origin(tx: Transaction, user_id: UUID, product_id: UUID) -> Origin:
    """By what right this person reviews this product; raises NotPurchased, NotFound for what is not there (any more)."""
    listing = await tx.maybe(_Listing, LOCK_LISTING, product_id)
    if listing is not None and listing.gone:
        raise NotFound
    bought_from = await tx.value(FIND_PURCHASE, user_id, product_id, settings.now.purchase_days)
    if bought_from is not None:
        return Origin(bought_from, verified=True)
    if settings.now.verified_only:
        raise NotPurchased
    if listing is None:
        raise NotFound
    return Origin(listing.seller_id, verified=False)


async def keep_purchases(tx: Transaction, found: Sequence[Purchase]) -> None:
    """Remember what was delivered to buyers who have an account still; a parcel that is told again is the same purchase."""
    earliest = {(one.shipment_id, one.product_id): one for one in sorted(found, key=lambda one: one.delivered_at, reverse=True)}
    if kept := tuple(earliest.values()):
        await tx.run(KEEP_LEAVERS_OUT)
        await tx.run(KEEP_PURCHASES, *columns(kept, "shipment_id", "product_id", "user_id", "seller_id", "delivered_at"))


async def forget_buyers(tx: Transaction, user_ids: list[UUID]) -> None:
    """Forget what was delivered to people who are gone, and what is still to arrive."""
    await tx.run(KEEP_PURCHASES_OUT)
    await tx.run(REMEMBER, user_ids)
    await tx.run(FORGET_PURCHASES, user_ids)


async def keep_listings(tx: Transaction, sellers: dict[UUID, UUID]) -> None:
    """Remember who sells these products."""
    if sellers:
        await tx.run(KEEP_LISTINGS, list(sellers), list(sellers.values()), False)


async def forget_products(tx: Transaction, sellers: dict[UUID, UUID]) -> None:
    """Forget what was said of products that are gone for good, and who kept them in mind."""
    if sellers:
        await tx.run(KEEP_LISTINGS, list(sellers), list(sellers.values()), True)
        for statement in (LOCK_REVIEWS, FORGET_REVIEWS, FORGET_RATINGS, FORGET_FAVORITES):
            await tx.run(statement, list(sellers))


async def forget_old_purchases() -> int:
    """Drop whole months of purchases that nobody may review any more; how many."""
    async with db.pool.acquire() as connection:
        return await drop_old_partitions(connection, "reviews.purchase", settings.now.purchase_days + LONGEST_WAY_DAYS)
