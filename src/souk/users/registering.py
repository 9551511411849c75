"""New people: who registers, who is made at the command line, and who comes from elsewhere by the thousand."""

from uuid import UUID

import msgspec

from souk.kit.callers import SYSTEM, caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import Forbidden, InvalidField
from souk.kit.events import publish
from souk.kit.ids import new_id
from souk.users import passwords, profiles, sessions, throttling
from souk.users.database import db
from souk.users.events import EmailVerificationRequested, UserRegistered
from souk.users.types import EmailTaken, NewUser, Register, Registered, Role, User, UsernameTaken

BULK = 500

ADD = """
    INSERT INTO users.users (id, email, username, name, phone_number, password_digest, roles, email_verified_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN now() END)
    ON CONFLICT DO NOTHING
"""
HAS_EMAIL = "SELECT EXISTS (SELECT 1 FROM users.users WHERE email = $1)"
ADD_MANY = """
    INSERT INTO users.users (id, email, name, password_digest, roles, email_verified_at, created_at)
    SELECT u.id, u.email, u.name, u.password_digest, string_to_array(u.roles, ','), CASE WHEN u.email_verified THEN now() END,
           coalesce(u.created_at, now())
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::timestamptz[])
        AS u (id, email, name, password_digest, roles, email_verified, created_at)
    WHERE NOT EXISTS (SELECT 1 FROM users.erased_user AS e WHERE e.user_id = u.id)
    ORDER BY u.email
    ON CONFLICT DO NOTHING
    RETURNING id
"""
FIND_MANY = "SELECT id, email FROM users.users WHERE email = ANY($1) ORDER BY id"


class _Found(msgspec.Struct, frozen=True):
    id: UUID
    email: str


@exposed(timeout=15.0)
async def register_user(data: Register, address: str) -> Registered:
    """Make an account and sign in to it, from a network address. The mailbox is still to be verified.

    Raises InvalidField for a password that everybody tries first, and EmailTaken and UsernameTaken: whoever signs up learns in any
    case whether it worked. So that nobody can look up a list of people this way, ten such answers to one address in fifteen minutes
    are followed by TooMany. Registering again is refused, and changes nothing.
    """
    passwords.refuse_common(data.password)
    here = throttling.hash_address(address)
    attempts = (throttling.make_key("register from", here),)
    await throttling.take(attempts)
    digest = await passwords.make_digest(data.password)
    async with db.transaction() as tx:
        user_id = await add_user(tx, data, digest, ("buyer",))
        await publish(tx, UserRegistered(user_id), EmailVerificationRequested(user_id))
        await throttling.give_back(tx, attempts)
        tokens = await sessions.start_session(tx, user_id, here)
        user = await profiles.find_user(tx, user_id)
    return Registered(**msgspec.structs.asdict(user), **msgspec.structs.asdict(tokens))


@exposed(timeout=15.0)
async def create_user(email: str, password: str, roles: tuple[Role, ...]) -> User:
    """Make an account with these roles for somebody whose mailbox needs no proof; for the command line.

    Raises EmailTaken, InvalidField, and Forbidden for anybody but the system.
    """
    require_system()
    try:
        data = msgspec.convert({"email": email, "password": password}, Register)
    except msgspec.ValidationError as mistake:
        raise InvalidField("user", str(mistake)) from mistake
    digest = await passwords.make_digest(password)
    async with db.transaction() as tx:
        user_id = await add_user(tx, data, digest, tuple(dict.fromkeys(roles)), email_verified=True)
        await publish(tx, UserRegistered(user_id))
        return await profiles.find_user(tx, user_id)


@exposed(timeout=60.0)
async def register_users(users: tuple[NewUser, ...]) -> tuple[UUID, ...]:
    """Make accounts that come from elsewhere, without hashing or signing in; the id of each, in the order asked.

    Whose e-mail address is known keeps the account and its id, so that asking again adds nobody. An id that was erased stays
    erased. Raises Forbidden for anybody but the system.
    """
    require_system()
    ids: list[UUID] = []
    for start in range(0, len(users), BULK):
        async with db.transaction() as tx:
            ids += await add_users(tx, users[start : start + BULK])
    return tuple(ids)


async def add_user(tx: Transaction, data: Register, digest: str, roles: tuple[Role, ...], *, email_verified: bool = False) -> UUID:
    """Write a new user; raises EmailTaken, UsernameTaken."""
    user_id, email = new_id(), sessions.normalise_email(data.email)
    values = (data.username, data.name, data.phone_number, digest, roles, email_verified)
    if not await tx.run(ADD, user_id, email, *values):
        raise EmailTaken if await tx.value(HAS_EMAIL, email) else UsernameTaken
    return user_id


async def add_users(tx: Transaction, users: tuple[NewUser, ...]) -> list[UUID]:
    """Write those of the users who are new; the ids of all."""
    emails = [sessions.normalise_email(user.email) for user in users]
    ids, *others = columns(users, "id", "name", "password_digest", "email_verified", "created_at")
    names, digests, verified, created = others
    roles = [",".join(user.roles) for user in users]
    added = await tx.all(sessions.Id, ADD_MANY, ids, emails, names, digests, roles, verified, created)
    await publish(tx, *(UserRegistered(row.id, imported=True) for row in added))
    known = {row.email: row.id for row in await tx.all(_Found, FIND_MANY, emails)}
    return [known.get(email, user.id) for email, user in zip(emails, users, strict=True)]


def require_system() -> None:
    """Raises Forbidden for anybody but a program of this shop."""
    if caller().principal.kind != SYSTEM.kind:
        raise Forbidden
