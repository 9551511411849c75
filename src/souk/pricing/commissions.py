"""The platform's share of what sellers sell: rules by seller and category, as an admin keeps them, and which of them a line bears."""

from collections.abc import Iterable
from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.kit.money import divide_half_up
from souk.pricing.database import db
from souk.pricing.types import CommissionRule, NewCommissionRule, PricedLine

COLUMNS = "id, seller_id, category_id, rate_ppm, created_at, updated_at"
SET = f"""
    INSERT INTO pricing.commission_rule AS c (id, seller_id, category_id, rate_ppm) VALUES ($1, $2, $3, $4)
    ON CONFLICT (seller_id, category_id) DO UPDATE SET rate_ppm = excluded.rate_ppm, updated_at = now()
    RETURNING {COLUMNS}
"""
LIST = f"SELECT {COLUMNS} FROM pricing.commission_rule WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2"
REMOVE = "DELETE FROM pricing.commission_rule WHERE id = $1"

MILLION = 1_000_000


@exposed()
async def set_commission(new: NewCommissionRule) -> CommissionRule:
    """Say which share a seller, a category or a seller's category bears from now on; placed orders keep theirs.

    There is one rule for each, so saying it again changes nothing. Raises Forbidden for all but admins.
    """
    caller().principal.require_admin()
    async with db.transaction() as tx:
        return await tx.one(CommissionRule, SET, new_id(), new.seller_id, new.category_id, new.rate_ppm)


@exposed()
async def list_commissions(after: UUID | None, limit: int) -> tuple[CommissionRule, ...]:
    """All rules, the oldest first. Changes nothing; raises Forbidden for all but admins."""
    caller().principal.require_admin()
    return await db.all(CommissionRule, LIST, after, limit)


@exposed()
async def remove_commission(rule_id: UUID) -> None:
    """Remove a rule; placed orders keep what it was. Raises NotFound, also the second time, and Forbidden for all but admins."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        if not await tx.run(REMOVE, rule_id):
            raise NotFound


def find_commission_ppm(rules: Iterable[CommissionRule], line: PricedLine, default_ppm: int) -> int:
    """The share that a line bears, in millionths.

    The seller's own rule for one of its categories comes before the seller's for everything, that before everybody's for a category,
    that before everybody's, and that before the shop's setting. Of several categories the lowest share counts.
    """
    found = [
        (rule.seller_id is None, rule.category_id is None, rule.rate_ppm)
        for rule in rules
        if rule.seller_id in (None, line.seller_id) and (rule.category_id is None or rule.category_id in line.category_ids)
    ]
    return min(found)[2] if found else default_ppm


def commission_on(goods: int, rate_ppm: int) -> int:
    """The platform's share of the goods' price without tax; a discount that the platform pays for does not lessen it."""
    return divide_half_up(goods * rate_ppm, MILLION)
