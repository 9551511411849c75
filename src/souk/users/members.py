"""A seller's team: owners change the seller and the team, members sell."""

from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.users import profiles, sellers, sessions
from souk.users.database import db
from souk.users.types import AddMember, AlreadyMember, ChangeMember, LastOwner, Member

FIND = "SELECT * FROM users.seller_member WHERE seller_id = $1 AND user_id = $2"
LIST = "SELECT * FROM users.seller_member WHERE seller_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3"
ADD = """
    INSERT INTO users.seller_member (seller_id, user_id, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING *
"""
CHANGE = "UPDATE users.seller_member SET role = $3, updated_at = now() WHERE seller_id = $1 AND user_id = $2 RETURNING *"
REMOVE = "DELETE FROM users.seller_member WHERE seller_id = $1 AND user_id = $2"
HAS_ANOTHER_OWNER = """
    SELECT EXISTS (SELECT 1 FROM users.seller_member WHERE seller_id = $1 AND user_id <> $2 AND role = 'owner')
"""


@exposed()
async def list_members(seller_id: UUID, limit: int, cursor: str | None) -> Page[Member]:
    """A seller's team. Raises NotFound for anybody but the team and admins."""
    who = caller().principal
    if not who.is_admin and await db.maybe(Member, FIND, seller_id, who.require_user()) is None:
        raise NotFound
    (after,) = read_cursor(cursor, tuple[UUID]) or (UUID(int=0),)
    rows = await db.all(Member, LIST, seller_id, after, limit + 1)
    return make_page(rows, limit, lambda member: (member.user_id,))


@exposed()
async def add_member(seller_id: UUID, wanted: AddMember) -> Member:
    """Take somebody into a seller's team; with an Idempotency-Key once.

    Raises AlreadyMember, and NotFound for a user who does not exist and for anybody but owners and admins.
    """

    async def add(tx: Transaction) -> Member:
        await sellers.lock_owned(tx, seller_id)
        await sessions.lock_users(tx, [wanted.user_id])
        await profiles.find_user(tx, wanted.user_id)
        member = await tx.maybe(Member, ADD, seller_id, wanted.user_id, wanted.role)
        if member is None:
            raise AlreadyMember
        await sessions.void_tokens(tx, [wanted.user_id])
        return member

    return await once(db, (seller_id, wanted), add)


@exposed()
async def change_member(seller_id: UUID, user_id: UUID, change: ChangeMember) -> Member:
    """Make a member an owner or an owner a member; their access tokens are void, and the next one says so.

    Raises LastOwner, and NotFound for anybody but owners and admins.
    """
    async with db.transaction() as tx:
        await sellers.lock_owned(tx, seller_id)
        if change.role != "owner":
            await require_another_owner(tx, seller_id, user_id)
        member = await tx.maybe(Member, CHANGE, seller_id, user_id, change.role)
        if member is None:
            raise NotFound
        await sellers.renew_tokens(tx, [user_id])
        return member


@exposed()
async def remove_member(seller_id: UUID, user_id: UUID) -> None:
    """Take somebody out of a seller's team: their tokens do not carry the seller any more. Members may leave by themselves.

    Raises LastOwner, and NotFound for who is not in the team and for anybody but owners and admins.
    """
    async with db.transaction() as tx:
        if caller().principal.owns(user_id):
            await sellers.lock_seller(tx, seller_id)
        else:
            await sellers.lock_owned(tx, seller_id)
        member = await tx.maybe(Member, FIND, seller_id, user_id)
        if member is None:
            raise NotFound
        if member.role == "owner":
            await require_another_owner(tx, seller_id, user_id)
        await tx.run(REMOVE, seller_id, user_id)
        await sellers.renew_tokens(tx, [user_id])


async def require_another_owner(tx: Transaction, seller_id: UUID, user_id: UUID) -> None:
    """Raises LastOwner if nobody else owns the seller, whose row is locked."""
    if not await tx.value(HAS_ANOTHER_OWNER, seller_id, user_id):
        raise LastOwner
