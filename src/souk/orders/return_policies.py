"""On which terms goods are taken back: policies of sellers and of the shop, by category, and which of them an order was placed under."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.orders.database import db
from souk.orders.return_types import PolicyTerms, ReturnPolicy, ReturnReason
from souk.orders.settings import settings

COLUMNS = "id, seller_id, category_id, window_days, restocking_fee_ppm, final_sale, return_shipping, created_at, ended_at"
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('orders.return_policy ' || concat_ws(' ', $1::uuid, $2::uuid), 0))"
# Who had to wait has the earlier time: terms begin when those before them end.
END = """
    UPDATE orders.return_policy SET ended_at = greatest(now(), created_at)
    WHERE ended_at IS NULL AND seller_id IS NOT DISTINCT FROM $1 AND category_id IS NOT DISTINCT FROM $2
    RETURNING ended_at
"""
ADD = f"""
    INSERT INTO orders.return_policy (id, seller_id, category_id, window_days, restocking_fee_ppm, final_sale, return_shipping, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, now())) RETURNING {COLUMNS}
"""
LIST = f"""
    SELECT {COLUMNS} FROM orders.return_policy
    WHERE ended_at IS NULL AND (seller_id IS NULL OR seller_id = $1) ORDER BY seller_id NULLS FIRST, category_id NULLS FIRST LIMIT 1000
"""
FIND = f"SELECT {COLUMNS} FROM orders.return_policy WHERE id = $1 AND ended_at IS NULL"
END_ONE = "UPDATE orders.return_policy SET ended_at = now() WHERE id = $1 AND ended_at IS NULL"
FIND_IN_FORCE = f"""
    SELECT {COLUMNS} FROM orders.return_policy
    WHERE (seller_id IS NULL OR seller_id = ANY($1)) AND created_at <= $2 AND coalesce(ended_at, 'infinity'::timestamptz) > $2
"""

# It is the seller's fault: these come back at their cost.
FAULTS: tuple[ReturnReason, ...] = ("damaged", "wrong_item", "not_as_described")


@exposed()
async def set_return_policy(terms: PolicyTerms) -> ReturnPolicy:
    """Say on which terms goods are taken back that are ordered from now on; those that were ordered before keep theirs.

    A seller's team for their own goods, an admin for any. Saying the same again begins the same anew. Raises NotFound for another's.
    """
    check_may_set(terms.seller_id)
    async with db.transaction() as tx:
        await tx.run(TAKE_TURN, terms.seller_id, terms.category_id)
        since = await tx.value(END, terms.seller_id, terms.category_id)
        names = ("seller_id", "category_id", "window_days", "restocking_fee_ppm", "final_sale", "return_shipping")
        return await tx.one(ReturnPolicy, ADD, new_id(), *(getattr(terms, name) for name in names), since)


@exposed()
async def list_return_policies(seller_id: UUID | None) -> tuple[ReturnPolicy, ...]:
    """The terms that are in force now: everybody's, and a seller's own. Anybody may read them. Changes nothing."""
    return await db.all(ReturnPolicy, LIST, seller_id)


@exposed()
async def remove_return_policy(policy_id: UUID) -> None:
    """Take terms back, for what is ordered from now on. Raises NotFound for another's, and the second time."""
    async with db.transaction() as tx:
        found = await tx.maybe(ReturnPolicy, FIND, policy_id)
        if found is None:
            raise NotFound
        check_may_set(found.seller_id)
        if not await tx.run(END_ONE, policy_id):
            raise NotFound


async def find_policies(tx: Transaction, seller_ids: Iterable[UUID], at: datetime) -> tuple[ReturnPolicy, ...]:
    """The terms that were in force for these sellers at this time."""
    return await tx.all(ReturnPolicy, FIND_IN_FORCE, sorted(seller_ids), at)


def check_may_set(seller_id: UUID | None) -> None:
    """Raise NotFound unless the caller may say on which terms this seller, or (None) everybody, takes goods back."""
    who = caller().principal
    if not (who.is_admin if seller_id is None else who.manages(seller_id)):
        raise NotFound


def choose_terms(policies: Iterable[ReturnPolicy], seller_id: UUID, category_ids: Iterable[UUID]) -> PolicyTerms:
    """The terms for goods of a seller in these categories.

    The seller's for a category come before the seller's for everything, these before everybody's for a category, these before everybody's,
    and these before the shop's settings. Of several categories the terms that are kindest to the buyer count.
    """
    categories = set(category_ids)
    found = [one for one in policies if one.seller_id in (None, seller_id) and (one.category_id is None or one.category_id in categories)]
    if not found:
        return PolicyTerms(window_days=settings.now.return_window_days)
    return min(found, key=rank)


def rank(policy: ReturnPolicy) -> tuple[bool, bool, bool, int, int]:
    return (policy.seller_id is None, policy.category_id is None, policy.final_sale, -policy.window_days, policy.restocking_fee_ppm)


def adapt(terms: PolicyTerms, reason: ReturnReason) -> PolicyTerms:
    """The terms for goods that come back for this reason."""
    if reason not in FAULTS:
        return terms
    return PolicyTerms(terms.seller_id, terms.category_id, terms.window_days, 0, False, "seller")


def ends_at(terms: PolicyTerms, arrived: datetime) -> datetime:
    """Until when what arrived then may be sent back."""
    return arrived + timedelta(days=terms.window_days)
