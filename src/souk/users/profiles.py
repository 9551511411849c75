"""Who somebody is: read by themselves and by admins, and changed by them; roles are changed by admins alone."""

from uuid import UUID

import asyncpg

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.users import sessions
from souk.users.changes import given
from souk.users.database import db
from souk.users.types import ChangeRoles, ChangeUser, User, UsernameTaken

FIND = "SELECT * FROM users.person WHERE id = ANY($1) ORDER BY id"
LIST = "SELECT * FROM users.person WHERE id < $1 ORDER BY id DESC LIMIT $2"
FIND_BY_EMAIL = "SELECT * FROM users.person WHERE email = $1"
CHANGE = "UPDATE users.users SET username = $2, name = $3, phone_number = $4, updated_at = now() WHERE id = $1"
IS_TAKEN = "SELECT EXISTS (SELECT 1 FROM users.users WHERE lower(username) = lower($2) AND id <> $1)"
SET_ROLES = "UPDATE users.users SET roles = $2, updated_at = now() WHERE id = $1"

NEWEST = UUID(int=2**128 - 1)


@exposed()
async def get_users(ids: tuple[UUID, ...]) -> tuple[User, ...]:
    """Those of these users that the caller may see: themselves; all of them for an admin."""
    who = caller().principal
    return await db.all(User, FIND, [user_id for user_id in ids if who.owns(user_id) or who.is_admin])


@exposed()
async def get_user(user_id: UUID) -> User:
    """A user: oneself, or anybody for an admin. Raises NotFound."""
    require_self(user_id)
    found = await db.maybe(User, FIND, [user_id])
    if found is None:
        raise NotFound
    return found


@exposed()
async def list_users(email: str | None, limit: int, cursor: str | None) -> Page[User]:
    """All users, newest first, or the one with this e-mail address. Raises Forbidden for anybody but an admin."""
    caller().principal.require_admin()
    if email is not None:
        return Page(await db.all(User, FIND_BY_EMAIL, sessions.normalise_email(email)))
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    rows = await db.all(User, LIST, before, limit + 1)
    return make_page(rows, limit, lambda user: (user.id,))


@exposed()
async def change_user(user_id: UUID, change: ChangeUser) -> User:
    """Change one's name, username or phone number; an admin may change anybody's. Raises NotFound, UsernameTaken."""
    require_self(user_id)
    async with db.transaction() as tx:
        await sessions.lock_users(tx, [user_id])
        return await change_profile(tx, user_id, change)


@exposed()
async def change_roles(user_id: UUID, change: ChangeRoles) -> User:
    """Give a user these roles and no others; their access tokens are void, and the next ones say so.

    Raises NotFound, and Forbidden for anybody but an admin. Again changes nothing more.
    """
    caller().principal.require_admin()
    async with db.transaction() as tx:
        await sessions.lock_users(tx, [user_id])
        await find_user(tx, user_id)
        await tx.run(SET_ROLES, user_id, tuple(dict.fromkeys(change.roles)))
        await sessions.void_tokens(tx, [user_id])
        return await find_user(tx, user_id)


async def find_user(tx: Transaction, user_id: UUID) -> User:
    """The user; raises NotFound."""
    found = await tx.maybe(User, FIND, [user_id])
    if found is None:
        raise NotFound
    return found


async def change_profile(tx: Transaction, user_id: UUID, change: ChangeUser) -> User:
    """Change what is given of a user whose row is locked; raises NotFound, UsernameTaken."""
    user = await find_user(tx, user_id)
    now = given(change, ("username", "name", "phone_number"), user)
    if now["username"] is not None and await tx.value(IS_TAKEN, user_id, now["username"]):
        raise UsernameTaken
    try:
        await tx.run(CHANGE, user_id, now["username"], now["name"], now["phone_number"])
    except asyncpg.UniqueViolationError:
        raise UsernameTaken from None
    return await find_user(tx, user_id)


def require_self(user_id: UUID) -> None:
    """What is a user's own is NotFound for others; admins may see it."""
    who = caller().principal
    if not (who.owns(user_id) or who.is_admin):
        raise NotFound
