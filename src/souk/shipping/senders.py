"""Senders: the address from which a seller's parcels come."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.shipping.database import db
from souk.shipping.types import NewSender, Sender

WRITE = """
    INSERT INTO shipping.sender AS s (seller_id, address, user_id) VALUES ($1, $2, $3)
    ON CONFLICT (seller_id) DO UPDATE SET address = excluded.address, user_id = excluded.user_id, updated_at = now()
    RETURNING s.seller_id, s.address, s.created_at, s.updated_at
"""
FIND = "SELECT seller_id, address, created_at, updated_at FROM shipping.sender WHERE seller_id = $1"
FIND_SET_BY = """
    SELECT seller_id, address, created_at, updated_at FROM shipping.sender WHERE user_id = $1 ORDER BY seller_id LIMIT 10000
"""
FORGET_SET_BY = "DELETE FROM shipping.sender WHERE user_id = ANY($1)"


@exposed()
async def set_sender(seller_id: UUID, address: NewSender) -> Sender:
    """Say where the parcels of one's own seller account come from (any for an admin). Again replaces it. Raises NotFound."""
    who = caller().principal
    if not who.manages(seller_id):
        raise NotFound
    async with db.transaction() as tx:
        return await tx.one(Sender, WRITE, seller_id, msgspec.to_builtins(address), who.user_id)


@exposed()
async def get_sender(seller_id: UUID) -> Sender:
    """Where the parcels of one's own seller account come from. Changes nothing; raises NotFound, also if nobody has said."""
    if not caller().principal.manages(seller_id) or (found := await find_sender(seller_id)) is None:
        raise NotFound
    return found


async def find_sender(seller_id: UUID) -> Sender | None:
    """Where a seller's parcels come from, if they have said so."""
    return await db.maybe(Sender, FIND, seller_id)


async def find_set_by(user_id: UUID) -> tuple[Sender, ...]:
    """The addresses that this user has set."""
    return await db.all(Sender, FIND_SET_BY, user_id)


async def forget_set_by(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Drop the addresses that these people have set. Their sellers buy no labels until somebody says anew where parcels come from."""
    await tx.run(FORGET_SET_BY, list(user_ids))
