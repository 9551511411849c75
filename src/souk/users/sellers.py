"""Sellers: they apply, an admin rules whether they may sell, and only who may is shown to the public."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.events import Event, publish
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.users import profiles, sessions
from souk.users.changes import given
from souk.users.database import db
from souk.users.events import SellerApplied, SellerApproved, SellerRejected, SellerSuspended
from souk.users.types import ChangeSeller, LastOwner, Ruling, Seller, SellerFields, SellerNotLike, SellerStatus

# From which status an admin may bring a seller to which.
MAY_BECOME: dict[SellerStatus, tuple[SellerStatus, ...]] = {
    "pending": ("approved", "rejected"),
    "rejected": ("approved",),
    "approved": ("suspended",),
    "suspended": ("approved",),
}

FIND = "SELECT * FROM users.seller WHERE id = ANY($1) ORDER BY id"
LOCK = "SELECT * FROM users.seller WHERE id = $1 FOR UPDATE"
LIST = "SELECT * FROM users.seller WHERE id > $1 ORDER BY id LIMIT $2"
LIST_BY_STATUS = "SELECT * FROM users.seller WHERE status = $3 AND id > $1 ORDER BY id LIMIT $2"
LIST_MINE = """
    SELECT * FROM users.seller
    WHERE id > $1 AND id IN (SELECT seller_id FROM users.seller_member WHERE user_id = $3) AND ($4::text IS NULL OR status = $4)
    ORDER BY id LIMIT $2
"""
ADD = "INSERT INTO users.seller (id, name, description, contact_email) VALUES ($1, $2, $3, $4) RETURNING *"
ADD_OWNER = "INSERT INTO users.seller_member (seller_id, user_id, role) VALUES ($1, $2, 'owner')"
CHANGE = "UPDATE users.seller SET name = $2, description = $3, contact_email = $4, updated_at = now() WHERE id = $1 RETURNING *"
RULE = "UPDATE users.seller SET status = $2, reason = $3, updated_at = now() WHERE id = $1 RETURNING *"
FIND_MEMBERSHIPS = "SELECT seller_id, role FROM users.seller_member WHERE user_id = $1 AND seller_id = ANY($2) ORDER BY seller_id"
FIND_TEAM = "SELECT user_id, role FROM users.seller_member WHERE seller_id = $1 ORDER BY created_at, user_id LIMIT 1000"


class _Membership(msgspec.Struct, frozen=True):
    seller_id: UUID
    role: str


class _Teammate(msgspec.Struct, frozen=True):
    user_id: UUID
    role: str


@exposed()
async def apply_as_seller(fields: SellerFields) -> Seller:
    """Ask to sell here; the caller owns the new seller, whom an admin approves or rejects. With an Idempotency-Key once."""
    user_id = caller().principal.require_user()

    async def add(tx: Transaction) -> Seller:
        await sessions.lock_users(tx, [user_id])
        await profiles.find_user(tx, user_id)
        seller = await tx.one(Seller, ADD, new_id(), fields.name, fields.description, fields.contact_email)
        await tx.run(ADD_OWNER, seller.id, user_id)
        await publish(tx, SellerApplied(seller.id, user_id))
        return seller

    return await once(db, fields, add)


@exposed()
async def get_sellers(ids: tuple[UUID, ...]) -> tuple[Seller, ...]:
    """Those of these sellers that the caller may see: who is approved, and their own; all of them for an admin."""
    return await narrow(await db.all(Seller, FIND, list(ids)))


@exposed()
async def get_seller(seller_id: UUID) -> Seller:
    """A seller that the caller may see; raises NotFound."""
    found = await narrow(await db.all(Seller, FIND, [seller_id]))
    if not found:
        raise NotFound
    return found[0]


@exposed()
async def list_sellers(status: SellerStatus | None, mine: bool, limit: int, cursor: str | None) -> Page[Seller]:
    """Sellers, oldest first: who is approved; with `mine` those whose team one is in, whatever their status.

    An admin sees all of them. Raises Unauthenticated for `mine` of a stranger.
    """
    who = caller().principal
    (after,) = read_cursor(cursor, tuple[UUID]) or (UUID(int=0),)
    if mine:
        rows = await db.search(Seller, LIST_MINE, after, limit + 1, who.require_user(), status)
    elif who.is_admin and status is None:
        rows = await db.all(Seller, LIST, after, limit + 1)
    elif who.is_admin or status in (None, "approved"):
        rows = await db.all(Seller, LIST_BY_STATUS, after, limit + 1, status or "approved")
    else:
        rows = ()
    return make_page(await narrow(rows), limit, lambda seller: (seller.id,))


@exposed()
async def change_seller(seller_id: UUID, change: ChangeSeller) -> Seller:
    """Change how a seller presents themselves. Raises NotFound for anybody but its owners and admins."""
    async with db.transaction() as tx:
        present = await lock_owned(tx, seller_id)
        now = given(change, SellerFields.__struct_fields__, present)
        return await tx.one(Seller, CHANGE, seller_id, now["name"], now["description"], now["contact_email"])


@exposed()
async def approve_seller(seller_id: UUID) -> Seller:
    """Let a seller sell, or sell again. Their team's access tokens are void, and the next ones carry the seller.

    Again changes nothing. Raises SellerNotLike, LastOwner for a seller whom nobody owns, NotFound, and Forbidden for anybody but
    an admin.
    """
    return await rule(seller_id, "approved", None)


@exposed()
async def reject_seller(seller_id: UUID, ruling: Ruling) -> Seller:
    """Refuse an application. Again changes nothing. Raises SellerNotLike, NotFound, and Forbidden for anybody but an admin."""
    return await rule(seller_id, "rejected", ruling.reason)


@exposed()
async def suspend_seller(seller_id: UUID, ruling: Ruling) -> Seller:
    """Stop a seller from selling: the tokens of the team are void, and the next ones do not carry the seller.

    Again changes nothing. Raises SellerNotLike, NotFound, and Forbidden for anybody but an admin.
    """
    return await rule(seller_id, "suspended", ruling.reason)


async def rule(seller_id: UUID, status: SellerStatus, reason: str | None) -> Seller:
    """An admin brings a seller to this status."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        seller = await lock_seller(tx, seller_id)
        if seller.status == status:
            return seller
        if status not in MAY_BECOME[seller.status]:
            raise SellerNotLike(seller.status, status)
        return await set_status(tx, seller_id, status, reason)


async def set_status(tx: Transaction, seller_id: UUID, status: SellerStatus, reason: str | None) -> Seller:
    """Write a new status of a seller whose row is locked, tell of it, and have the team's tokens made anew."""
    team = await tx.all(_Teammate, FIND_TEAM, seller_id)
    owners = [mate.user_id for mate in team if mate.role == "owner"]
    if status == "approved" and not owners:
        raise LastOwner
    seller = await tx.one(Seller, RULE, seller_id, status, reason)
    news: dict[str, list[Event]] = {
        "approved": [SellerApproved(seller_id, owner) for owner in owners[:1]],
        "rejected": [SellerRejected(seller_id, owner) for owner in owners[:1]],
        "suspended": [SellerSuspended(seller_id)],
    }
    await publish(tx, *news[status])
    await renew_tokens(tx, [mate.user_id for mate in team])
    return seller


async def renew_tokens(tx: Transaction, user_ids: list[UUID]) -> None:
    """What these users may sell has changed: their access tokens are void, and the next ones say so."""
    await sessions.lock_users(tx, user_ids)
    await sessions.void_tokens(tx, user_ids)


async def lock_seller(tx: Transaction, seller_id: UUID) -> Seller:
    """The seller's row, locked before any user's; raises NotFound."""
    seller = await tx.maybe(Seller, LOCK, seller_id)
    if seller is None:
        raise NotFound
    return seller


async def lock_owned(tx: Transaction, seller_id: UUID) -> Seller:
    """The seller, locked, if the caller owns it or is an admin; raises NotFound."""
    seller = await lock_seller(tx, seller_id)
    who = caller().principal
    if not who.is_admin:
        held = await tx.all(_Membership, FIND_MEMBERSHIPS, who.require_user(), [seller_id])
        if [one.role for one in held] != ["owner"]:
            raise NotFound
    return seller


async def narrow(sellers: tuple[Seller, ...]) -> tuple[Seller, ...]:
    """What the caller may see of these sellers: all for an admin and the team; else who is approved, without contact and reason."""
    who = caller().principal
    if who.is_admin:
        return sellers
    mine: set[UUID] = set()
    if who.user_id is not None:
        rows = await db.all(_Membership, FIND_MEMBERSHIPS, who.user_id, [seller.id for seller in sellers])
        mine = {row.seller_id for row in rows}
    return tuple(
        seller if seller.id in mine else msgspec.structs.replace(seller, contact_email=None, reason=None)
        for seller in sellers
        if seller.id in mine or seller.status == "approved"
    )
