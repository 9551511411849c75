"""Sellers: who may change what, and who may not sell for now."""

from uuid import UUID

from souk.catalog.events import ListingsHidden, ListingsShown
from souk.kit.callers import caller
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import publish

SUSPEND_SELLER = "INSERT INTO catalog.suspended_seller (seller_id) VALUES ($1) ON CONFLICT DO NOTHING"
ADMIT_SELLER = "DELETE FROM catalog.suspended_seller WHERE seller_id = $1"


def choose_seller(seller_id: UUID | None) -> UUID:
    """The seller for whom the caller acts; raises Forbidden for who sells nothing, NotFound for another's seller."""
    chosen = caller().principal.choose_seller(seller_id)
    if chosen is None:
        raise InvalidField("seller_id", "is missing: say for which seller")
    return chosen


def check_owner(seller_id: UUID) -> None:
    """Raises NotFound unless the caller sells for this seller or is an admin."""
    if not caller().principal.manages(seller_id):
        raise NotFound


async def set_suspended(tx: Transaction, seller_id: UUID, *, suspended: bool) -> None:
    """Hide what a seller offers, or show it again."""
    if await tx.run(SUSPEND_SELLER if suspended else ADMIT_SELLER, seller_id):
        await publish(tx, ListingsHidden(seller_id) if suspended else ListingsShown(seller_id))
