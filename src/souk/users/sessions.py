"""Sessions: opened with a password, carried on with refresh tokens that are spent once, closed by their owner or for safety."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.auth import AUDIENCE, ISSUER, Claims
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import Unauthenticated
from souk.kit.events import publish
from souk.kit.ids import new_id
from souk.users import keys, passwords, throttling
from souk.users.database import db
from souk.users.events import SessionsRevoked
from souk.users.settings import settings
from souk.users.types import Login, Logout, Refresh, SessionOver, Tokens, WrongCredentials

TOKEN_BYTES = 32

FIND_ACCOUNT = """
    SELECT u.id, u.password_digest,
           EXISTS (SELECT 1 FROM users.session AS s WHERE s.user_id = u.id AND s.address_hash = $2) AS comes_from_here
    FROM users.users AS u WHERE u.email = $1
"""
# Whatever changes somebody's sessions, roles or sellers locks their row first: then a token that was made with the old ones is
# older than the revocation that comes with the new ones.
LOCK_USERS = "SELECT id FROM users.users WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"
HAS_DIGEST = "SELECT password_digest = $2 FROM users.users WHERE id = $1"
IMPROVE_DIGEST = "UPDATE users.users SET password_digest = $2 WHERE id = $1"
OPEN = """
    INSERT INTO users.session (id, user_id, address_hash, expires_at)
    SELECT $1, $2, $3, now() + make_interval(days => least($4::int, $5::int))
"""
READ_CLAIMS = """
    SELECT p.roles, p.sellers, extract(epoch FROM clock_timestamp())::float8 AS issued_at,
           array(SELECT (array_position(p.sellers, m.seller_id) - 1)::int FROM users.seller_member AS m
                 WHERE m.user_id = p.id AND m.role = 'owner' AND m.seller_id = ANY(p.sellers)) AS owned
    FROM users.person AS p WHERE p.id = $1
"""
KEEP_TOKEN = "INSERT INTO users.refresh_token (token_hash, session_id) VALUES ($1, $2)"  # noqa: S105
FIND_OWNER = """
    SELECT s.id, s.user_id FROM users.refresh_token AS t JOIN users.session AS s ON s.id = t.session_id WHERE t.token_hash = $1
"""
READ_STATE = """
    SELECT CASE WHEN s.ended_at IS NOT NULL OR s.expires_at <= now() THEN 'over'
                WHEN t.spent_at IS NULL THEN 'live'
                WHEN t.spent_at > now() - make_interval(secs => $2) THEN 'just_spent'
                ELSE 'spent' END AS state
    FROM users.refresh_token AS t JOIN users.session AS s ON s.id = t.session_id WHERE t.token_hash = $1
"""
SPEND_ALL = "UPDATE users.refresh_token SET spent_at = clock_timestamp() WHERE session_id = $1 AND spent_at IS NULL"
PROLONG = """
    UPDATE users.session
    SET expires_at = least(now() + make_interval(days => $2), created_at + make_interval(days => $3)), updated_at = now()
    WHERE id = $1
"""
CLOSE = """
    UPDATE users.session SET ended_at = now(), updated_at = now()
    WHERE user_id = $1 AND (id = ANY($2) OR $3) AND ended_at IS NULL
    RETURNING id
"""
DROP = "DELETE FROM users.session WHERE id = $1"
DROP_OTHERS = "DELETE FROM users.session WHERE user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id"
VOID = """
    INSERT INTO users.revocation (subject_id, before) SELECT u.id, clock_timestamp() FROM unnest($1::uuid[]) AS u (id) ORDER BY u.id
    ON CONFLICT (subject_id) DO UPDATE SET before = greatest(excluded.before, users.revocation.before)
"""
FORGET = "DELETE FROM users.session WHERE expires_at < now() - make_interval(days => $1)"
FORGET_SPENT = """
    DELETE FROM users.refresh_token WHERE token_hash IN (
        SELECT t.token_hash FROM users.refresh_token AS t WHERE t.spent_at < now() - make_interval(days => $1) LIMIT 10000)
"""


class _Account(msgspec.Struct, frozen=True):
    id: UUID
    password_digest: str | None
    comes_from_here: bool


class _Owner(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID


class _Holder(msgspec.Struct, frozen=True):
    roles: tuple[str, ...]
    sellers: tuple[UUID, ...]
    issued_at: float
    owned: tuple[int, ...]


class Id(msgspec.Struct, frozen=True):
    """A row of which only the id matters."""

    id: UUID


@exposed(timeout=15.0)
async def open_session(login: Login, address: str) -> Tokens:
    """Sign in from a network address. Each call opens a session of its own.

    Raises WrongCredentials, in the same time for an unknown e-mail address as for a wrong password, and TooMany after ten
    failures in fifteen minutes at the same account or from the same address.
    """
    email = normalise_email(login.email)
    here = throttling.hash_address(address)
    account = await db.maybe(_Account, FIND_ACCOUNT, email, here)
    whose = (email, here) if account is not None and account.comes_from_here else (email,)
    attempts = (throttling.make_key("login", *whose), throttling.make_key("login from", here))
    await throttling.take(attempts)
    verdict = await passwords.check_password(login.password, account.password_digest if account else None)
    if account is None or not verdict.right:
        raise WrongCredentials
    async with db.transaction() as tx:
        await lock_users(tx, [account.id])
        if not await tx.value(HAS_DIGEST, account.id, account.password_digest):
            raise WrongCredentials
        if verdict.better_digest is not None:
            await tx.run(IMPROVE_DIGEST, account.id, verdict.better_digest)
        await throttling.give_back(tx, attempts)
        return await start_session(tx, account.id, here)


@exposed()
async def refresh_session(refresh: Refresh) -> Tokens:
    """The next pair of tokens. A refresh token is spent by this; raises SessionOver for one that is not known or over.

    A spent one that comes again ends the session with all of its tokens: one of the two who had it was a thief. For a few
    seconds it is taken for the twin of an honest request, and gets a pair of its own.
    """
    digest = hash_token(refresh.refresh_token)
    session = await db.maybe(_Owner, FIND_OWNER, digest)
    if session is None:
        raise SessionOver
    async with db.transaction() as tx:
        await lock_users(tx, [session.user_id])
        state: Literal["live", "just_spent", "spent", "over"] | None
        state = await tx.value(READ_STATE, digest, float(settings.now.refresh_grace_s))
        if state in ("live", "just_spent"):
            # The twin's pair and this one: whichever is used first spends the other, so a thief's cannot live on unseen.
            if state == "live":
                await tx.run(SPEND_ALL, session.id)
            await tx.run(PROLONG, session.id, settings.now.session_idle_days, settings.now.session_days)
            return await issue_tokens(tx, session.user_id, session.id)
        if state == "spent":
            await drop_session(tx, session)
    raise SessionOver


@exposed()
async def close_session(logout: Logout) -> None:
    """Sign out: the caller's session ends, that of the refresh token, or all of the user's; never another user's.

    Again changes nothing. Raises Unauthenticated if there is neither an access token nor a refresh token.
    """
    who = caller().principal
    given = hash_token(logout.refresh_token) if logout.refresh_token else None
    if given is None and who.session_id is None:
        raise Unauthenticated
    of_token = await db.maybe(_Owner, FIND_OWNER, given) if given else None
    user_id = who.user_id or (of_token.user_id if of_token else None)
    if user_id is None:
        return
    sessions = [one for one in (who.session_id, of_token.id if of_token else None) if one is not None]
    async with db.transaction() as tx:
        await lock_users(tx, [user_id])
        closed = await tx.all(Id, CLOSE, user_id, sessions, logout.everywhere)
        await void_tokens(tx, [user_id] if logout.everywhere else [row.id for row in closed])


async def start_session(tx: Transaction, user_id: UUID, address_hash: bytes) -> Tokens:
    """A new session of a user whose row is locked, and its first tokens."""
    session_id = new_id()
    await tx.run(OPEN, session_id, user_id, address_hash, settings.now.session_idle_days, settings.now.session_days)
    return await issue_tokens(tx, user_id, session_id)


async def issue_tokens(tx: Transaction, user_id: UUID, session_id: UUID) -> Tokens:
    """A pair of tokens that say what is true of the user now; the user's row is locked."""
    holder = await tx.one(_Holder, READ_CLAIMS, user_id)
    lasts_s = settings.now.access_token_s
    ends_at = holder.issued_at + lasts_s
    claims = Claims(ISSUER, AUDIENCE, user_id, session_id, holder.issued_at, ends_at, holder.roles, holder.sellers, holder.owned)
    refresh_token = secrets.token_urlsafe(TOKEN_BYTES)
    await tx.run(KEEP_TOKEN, hash_token(refresh_token), session_id)
    return Tokens(access_token=await keys.sign(tx, claims), refresh_token=refresh_token, expires_in=lasts_s)


async def drop_session(tx: Transaction, session: _Owner) -> None:
    """End a session whose token was stolen."""
    await tx.run(DROP, session.id)
    await void_tokens(tx, [session.id])
    await publish(tx, SessionsRevoked(session.user_id))


async def drop_other_sessions(tx: Transaction, user_id: UUID, keep: UUID | None) -> None:
    """End every session of a user whose row is locked, but the one to keep."""
    dropped = await tx.all(Id, DROP_OTHERS, user_id, keep)
    await void_tokens(tx, [*(row.id for row in dropped), *([] if keep else [user_id])])
    await publish(tx, SessionsRevoked(user_id))


async def lock_users(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Lock the rows of these users, in the order of their ids. After the rows of sellers, before anything else."""
    await tx.all(Id, LOCK_USERS, list(user_ids))


async def void_tokens(tx: Transaction, subject_ids: Sequence[UUID]) -> None:
    """From now on the access tokens of these users or sessions are void; their owners refresh. The users' rows are locked."""
    await tx.run(VOID, list(subject_ids))


async def forget_sessions() -> int:
    """Drop sessions that are long over, and long spent tokens; how many."""
    async with db.transaction() as tx:
        return await tx.run(FORGET, settings.now.session_idle_days) + await tx.run(FORGET_SPENT, settings.now.session_idle_days)


def normalise_email(email: str) -> str:
    """One form for all spellings: mailboxes that differ in case alone do not exist in practice."""
    return email.strip().lower()


def hash_token(token: str) -> bytes:
    """What is kept of a token that has 256 random bits."""
    return hashlib.sha256(token.encode()).digest()
