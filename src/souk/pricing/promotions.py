"""Promotions and coupons: who may make them, what they may say, and how they are kept."""

import re
from typing import TypeVar
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import Forbidden, InvalidField, NotFound
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.pricing.database import db
from souk.pricing.settings import settings
from souk.pricing.types import (
    Coupon,
    CouponChanges,
    CouponCodeTaken,
    CouponTerms,
    NewCoupon,
    NewPromotion,
    Promotion,
    PromotionChanges,
    PromotionTerms,
)

P = TypeVar("P", Promotion, Coupon)

# What can be written of a promotion, and how one is read: amounts as Money.
TERMS = """
    seller_id, code, name, kind, currency, rate_ppm, amount, minimum, seller_ids, category_ids, product_ids, starts_at, ends_at, active,
    priority, combinable, user_id, usage_limit, usage_limit_per_buyer, budget
"""
COLUMNS = """
    id, seller_id, code, name, kind, rate_ppm, seller_ids, category_ids, product_ids, starts_at, ends_at, active, priority, combinable,
    user_id, usage_limit, usage_limit_per_buyer, uses, created_at, updated_at,
    CASE WHEN amount IS NOT NULL THEN json_build_object('amount', amount, 'currency', currency) END AS amount,
    CASE WHEN minimum IS NOT NULL THEN json_build_object('amount', minimum, 'currency', currency) END AS minimum,
    CASE WHEN budget IS NOT NULL THEN json_build_object('amount', budget, 'currency', currency) END AS budget,
    CASE WHEN currency IS NOT NULL AND code IS NOT NULL THEN json_build_object('amount', spent, 'currency', currency) END AS spent
"""
ADD = f"""
    INSERT INTO pricing.promotion (id, {TERMS})
    SELECT $1, {TERMS} FROM jsonb_populate_record(NULL::pricing.promotion, $2)
    ON CONFLICT (code) DO NOTHING
    RETURNING {COLUMNS}
"""
CHANGE = f"""
    UPDATE pricing.promotion
    SET ({TERMS}) = (SELECT {TERMS} FROM jsonb_populate_record(NULL::pricing.promotion, $2)), updated_at = now()
    WHERE id = $1
    RETURNING {COLUMNS}
"""
FIND = f"SELECT {COLUMNS} FROM pricing.promotion WHERE id = $1 AND (code IS NOT NULL) = $2"
LOCK = f"{FIND} FOR UPDATE"
LIST_ALL = f"""
    SELECT {COLUMNS} FROM pricing.promotion
    WHERE (code IS NOT NULL) = $1 AND ($2::uuid IS NULL OR id < $2)
    ORDER BY id DESC LIMIT $3
"""
LIST_OWN = f"""
    SELECT {COLUMNS} FROM pricing.promotion
    WHERE (code IS NOT NULL) = $1 AND ($2::uuid IS NULL OR id < $2) AND seller_id = ANY($4)
    ORDER BY id DESC LIMIT $3
"""
REMOVE = "DELETE FROM pricing.promotion WHERE id = $1"

CODE = re.compile("[A-Za-z0-9_-]{3,40}")


@exposed()
async def create_promotion(new: NewPromotion) -> Promotion:
    """Make a promotion that applies by itself: the platform's, or a seller's own.

    Repeating with the same Idempotency-Key gives the first one. Raises InvalidField, Forbidden, and NotFound for another's seller.
    """
    return await add(Promotion, new)


@exposed()
async def create_coupon(new: NewCoupon) -> Coupon:
    """Make a coupon: the platform's, or a seller's own.

    Repeating with the same Idempotency-Key gives the first one. Raises CouponCodeTaken, InvalidField, Forbidden, and NotFound for
    another's seller.
    """
    return await add(Coupon, new)


@exposed()
async def list_promotions(after: UUID | None, limit: int) -> tuple[Promotion, ...]:
    """Promotions, the newest first: all for an admin, a seller's own else. Changes nothing; raises Forbidden for other people."""
    return await find_many(Promotion, after, limit)


@exposed()
async def list_coupons(after: UUID | None, limit: int) -> tuple[Coupon, ...]:
    """Coupons, the newest first: all for an admin, a seller's own else. Changes nothing; raises Forbidden for other people."""
    return await find_many(Coupon, after, limit)


@exposed()
async def get_promotion(promotion_id: UUID) -> Promotion:
    """The promotion. Changes nothing; raises NotFound, also for another's."""
    return must_be_own(await db.maybe(Promotion, FIND, promotion_id, False))


@exposed()
async def get_coupon(coupon_id: UUID) -> Coupon:
    """The coupon. Changes nothing; raises NotFound, also for another's."""
    return must_be_own(await db.maybe(Coupon, FIND, coupon_id, True))


@exposed()
async def change_promotion(promotion_id: UUID, changes: PromotionChanges) -> Promotion:
    """Change what is given; repeating changes nothing more. Raises InvalidField, and NotFound, also for another's."""
    return await change(Promotion, promotion_id, changes)


@exposed()
async def change_coupon(coupon_id: UUID, changes: CouponChanges) -> Coupon:
    """Change what is given; repeating changes nothing more. Raises InvalidField, and NotFound, also for another's."""
    return await change(Coupon, coupon_id, changes)


@exposed()
async def remove_promotion(promotion_id: UUID) -> None:
    """Remove a promotion; orders keep what it took off. Raises NotFound, also for another's and the second time."""
    await remove(Promotion, promotion_id)


@exposed()
async def remove_coupon(coupon_id: UUID) -> None:
    """Remove a coupon; orders keep what it took off. Raises NotFound, also for another's and the second time."""
    await remove(Coupon, coupon_id)


async def add(kind: type[P], new: PromotionTerms) -> P:
    terms = msgspec.structs.replace(new, seller_id=caller().principal.choose_seller(new.seller_id))
    check_terms(terms)

    async def work(tx: Transaction) -> P:
        made = await tx.maybe(kind, ADD, new_id(), columns_of(terms))
        if made is None:
            raise CouponCodeTaken(code_of(terms) or "")
        return made

    return await once(db, new, work)


async def find_many(kind: type[P], after: UUID | None, limit: int) -> tuple[P, ...]:
    who = caller().principal
    if who.is_admin:
        return await db.all(kind, LIST_ALL, kind is Coupon, after, limit)
    if not who.seller_ids:
        raise Forbidden
    return await db.all(kind, LIST_OWN, kind is Coupon, after, limit, list(who.seller_ids))


async def change(kind: type[P], promotion_id: UUID, changes: PromotionChanges) -> P:
    given = {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not msgspec.UNSET}
    async with db.transaction() as tx:
        old = must_be_own(await tx.maybe(kind, LOCK, promotion_id, kind is Coupon))
        new = msgspec.structs.replace(old, **given)
        check_terms(new)
        if isinstance(new, Coupon):
            check_used(new, old.currency)
        return await tx.one(kind, CHANGE, promotion_id, columns_of(new))


async def remove(kind: type[P], promotion_id: UUID) -> None:
    async with db.transaction() as tx:
        must_be_own(await tx.maybe(kind, LOCK, promotion_id, kind is Coupon))
        await tx.run(REMOVE, promotion_id)


def must_be_own(found: P | None) -> P:
    """What was found, if the caller may manage it; raises NotFound."""
    if found is None or not caller().principal.manages(found.seller_id):
        raise NotFound
    return found


def check_terms(terms: PromotionTerms) -> None:
    """Raise InvalidField for terms that contradict themselves."""
    if (terms.kind == "percentage") != (terms.rate_ppm is not None):
        raise InvalidField("rate_ppm", "belongs to the kind percentage, and only to that")
    if (terms.kind == "fixed") != (terms.amount is not None):
        raise InvalidField("amount", "belongs to the kind fixed, and only to that")
    for name, money in terms.amounts.items():
        if money.amount <= 0:
            raise InvalidField(name, "is to be above zero")
        if money.currency != terms.currency or money.currency not in settings.now.currencies:
            raise InvalidField(name, "is to be in one of the shop's currencies, the same for all amounts")
    for name, moment in (("starts_at", terms.starts_at), ("ends_at", terms.ends_at)):
        # Near the ends of the calendar another time zone's moment is none in UTC.
        if moment is not None and not 2000 <= moment.year < 3000:
            raise InvalidField(name, "is to be in this millennium")
    if terms.starts_at is not None and terms.ends_at is not None and terms.starts_at >= terms.ends_at:
        raise InvalidField("ends_at", "is to be after starts_at")
    if terms.seller_id is not None and terms.seller_ids:
        raise InvalidField("seller_ids", "belongs to promotions of the platform: a seller's own is for that seller's lines")


def check_used(coupon: Coupon, old_currency: str | None) -> None:
    """Raise InvalidField for limits that have been passed already."""
    if coupon.usage_limit is not None and coupon.usage_limit < coupon.uses:
        raise InvalidField("usage_limit", f"is below the {coupon.uses} uses so far")
    if coupon.uses and coupon.currency != old_currency:
        raise InvalidField("currency", "stays as it is once the coupon was used")
    if coupon.budget is not None and coupon.spent is not None and coupon.budget.amount < coupon.spent.amount:
        raise InvalidField("budget", f"is below the {coupon.spent.amount} spent so far")


def columns_of(terms: PromotionTerms) -> dict[str, object]:
    """The terms as a row's columns."""
    amounts = {name: money.amount for name, money in terms.amounts.items()}
    row = {name: value for name, value in msgspec.to_builtins(terms).items() if name in CouponTerms.__struct_fields__}
    return row | amounts | {"currency": terms.currency, "code": code_of(terms)}


def code_of(terms: PromotionTerms) -> str | None:
    return normalise_code(terms.code) if isinstance(terms, CouponTerms) else None


def normalise_code(text: str | None) -> str:
    """A code as coupons are kept: upper case, no space around it. Nothing for a text that can be no code."""
    code = (text or "").strip()
    return code.upper() if CODE.fullmatch(code) else ""
