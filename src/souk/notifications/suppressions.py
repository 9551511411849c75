"""Addresses to which nothing is sent any more: they do not exist, or somebody there called a letter spam, or an admin says so."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField
from souk.notifications.database import db
from souk.notifications.sealing import hide_address

SuppressionReason = Literal["bounced", "complained", "blocked"]

FIND = "SELECT address_hash, reason FROM notifications.suppression WHERE address_hash = ANY($1)"
# An address that is not there is worse than one whose owner is angry; what an admin says stays.
ADD = """
    INSERT INTO notifications.suppression (address_hash, reason, letter_id)
    SELECT DISTINCT ON (u.address_hash) u.address_hash, u.reason, u.letter_id
    FROM unnest($1::bytea[], $2::text[], $3::uuid[]) AS u (address_hash, reason, letter_id) ORDER BY u.address_hash
    ON CONFLICT (address_hash) DO UPDATE SET reason = excluded.reason, letter_id = excluded.letter_id, updated_at = now()
    WHERE suppression.reason = 'complained' AND excluded.reason <> 'complained'
"""
REMOVE = "DELETE FROM notifications.suppression WHERE address_hash = $1"
LIST = """
    SELECT encode(address_hash, 'hex') AS id, reason, letter_id, created_at, updated_at FROM notifications.suppression
    WHERE ($1::timestamptz IS NULL OR (created_at, address_hash) < ($1, $2)) AND ($4::bytea IS NULL OR address_hash = $4)
    ORDER BY created_at DESC, address_hash DESC LIMIT $3
"""


class Suppressed(msgspec.Struct, frozen=True):
    """An address to which nothing is sent, or nothing that is not mandatory if it `complained`. The address itself is not kept."""

    id: str
    reason: SuppressionReason
    letter_id: UUID | None
    created_at: datetime
    updated_at: datetime


class Found(msgspec.Struct, frozen=True):
    address_hash: bytes
    reason: SuppressionReason


class Bad(msgspec.Struct, frozen=True):
    """An address that is to be left alone, and the letter that told us."""

    address: str
    reason: SuppressionReason
    letter_id: UUID | None = None


async def find_suppressed(hashes: Sequence[bytes]) -> dict[bytes, SuppressionReason]:
    """Which of these hidden addresses get nothing, and why."""
    return {bytes(one.address_hash): one.reason for one in await db.all(Found, FIND, list(hashes))} if hashes else {}


async def suppress(tx: Transaction, bad: Sequence[Bad]) -> None:
    """Leave these addresses alone from now on."""
    if bad:
        hashes = [hide_address(one.address) for one in bad]
        await tx.run(ADD, hashes, [one.reason for one in bad], [one.letter_id for one in bad])


@exposed()
async def suspend_address(address: str) -> None:
    """Send nothing to an address any more, whoever it belongs to; for admins. Again changes nothing."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        await suppress(tx, (Bad(address, "blocked"),))


@exposed()
async def release_address(suppression_id: str) -> None:
    """Send to an address again; for admins. Again, or for one that was not suppressed, changes nothing."""
    caller().principal.require_admin()
    try:
        hidden = bytes.fromhex(suppression_id)
    except ValueError as mistake:
        raise InvalidField("suppression_id", "is no id out of the list of suppressions") from mistake
    async with db.transaction() as tx:
        await tx.run(REMOVE, hidden)


@exposed()
async def list_suppressions(address: str | None, limit: int, before: tuple[datetime, bytes] | None) -> tuple[Suppressed, ...]:
    """Which addresses get nothing, the newest first, after one; or this address if it gets nothing. For admins."""
    caller().principal.require_admin()
    moment, key = before or (None, b"")
    return await db.search(Suppressed, LIST, moment, key, limit, hide_address(address) if address else None)
