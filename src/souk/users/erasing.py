"""What users keeps of somebody: given out on request, and dropped for good when they go."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.events import publish
from souk.kit.personal import exports_user_data
from souk.users import profiles, sellers, sessions
from souk.users.database import db
from souk.users.events import UserErased
from souk.users.preferences import FIND as FIND_PREFERENCES
from souk.users.profiles import FIND as FIND_USERS
from souk.users.types import Activity, Address, Member, Preferences, Seller, User

ADDRESSES = "SELECT * FROM users.address WHERE user_id = $1 ORDER BY id LIMIT 100000"
ACTIVITY = "SELECT * FROM users.user_activity WHERE user_id = $1 ORDER BY activity_timestamp, id LIMIT 100000"
SESSIONS = "SELECT id, expires_at, ended_at, created_at FROM users.session WHERE user_id = $1 ORDER BY id LIMIT 100000"
MEMBERSHIPS = "SELECT * FROM users.seller_member WHERE user_id = $1 ORDER BY seller_id LIMIT 100000"

LOCK_SELLERS = """
    SELECT * FROM users.seller WHERE id IN (SELECT seller_id FROM users.seller_member WHERE user_id = $1) ORDER BY id FOR UPDATE
"""
FIND_ALONE = """
    SELECT m.seller_id AS id FROM users.seller_member AS m
    WHERE m.user_id = $1 AND m.role = 'owner' AND NOT EXISTS (
        SELECT 1 FROM users.seller_member AS o WHERE o.seller_id = m.seller_id AND o.user_id <> m.user_id AND o.role = 'owner')
    ORDER BY m.seller_id
"""
FORGET_CONTACT = "UPDATE users.seller SET contact_email = NULL, updated_at = now() WHERE id = ANY($1)"
IS_ERASED = "SELECT EXISTS (SELECT 1 FROM users.erased_user WHERE user_id = $1)"
REMEMBER = "INSERT INTO users.erased_user (user_id) VALUES ($1)"
FORGET_ANSWERS = "DELETE FROM users.idempotency_key WHERE subject = $1"
ERASE = "DELETE FROM users.users WHERE id = $1"
# After the user: what others were just noting of them has waited for that, or is there by now.
FORGET_ACTIVITY = "DELETE FROM users.user_activity WHERE user_id = $1"

NOBODY_LEFT = "the last owner has left"


class _Session(msgspec.Struct, frozen=True):
    id: UUID
    expires_at: datetime
    ended_at: datetime | None
    created_at: datetime


@exports_user_data
async def export_user(user_id: UUID) -> Mapping[str, object]:
    """Everything that users keeps of somebody but their secrets."""
    return {
        "user": await db.all(User, FIND_USERS, [user_id]),
        "preferences": await db.all(Preferences, FIND_PREFERENCES, [user_id]),
        "addresses": await db.all(Address, ADDRESSES, user_id),
        "activity": await db.all(Activity, ACTIVITY, user_id),
        "sessions": await db.all(_Session, SESSIONS, user_id),
        "memberships": await db.all(Member, MEMBERSHIPS, user_id),
    }


@exposed(timeout=30.0)
async def erase_user(user_id: UUID) -> None:
    """Drop everything that the shop keeps of the caller, or for an admin of anybody; the books keep the id, which says nothing.

    Other contexts follow when they hear UserErased. A seller whom nobody else owns is suspended. Again changes nothing. Raises
    NotFound.
    """
    profiles.require_self(user_id)
    async with db.transaction() as tx:
        held = await tx.all(Seller, LOCK_SELLERS, user_id)
        await sessions.lock_users(tx, [user_id])
        if await tx.value(IS_ERASED, user_id):
            return
        await profiles.find_user(tx, user_id)
        alone = {row.id for row in await tx.all(sessions.Id, FIND_ALONE, user_id)}
        await close_sellers(tx, [seller for seller in held if seller.id in alone])
        await tx.run(REMEMBER, user_id)
        await tx.run(FORGET_ANSWERS, str(user_id))
        await sessions.void_tokens(tx, [user_id])
        await tx.run(ERASE, user_id)
        await tx.run(FORGET_ACTIVITY, user_id)
        await publish(tx, UserErased(user_id))


async def close_sellers(tx: Transaction, left: list[Seller]) -> None:
    """Nobody owns these sellers any more: they stop selling, and their contact is forgotten."""
    for seller in left:
        if seller.status == "approved":
            await sellers.set_status(tx, seller.id, "suspended", NOBODY_LEFT)
        elif seller.status == "pending":
            await sellers.set_status(tx, seller.id, "rejected", NOBODY_LEFT)
    await tx.run(FORGET_CONTACT, [seller.id for seller in left])
