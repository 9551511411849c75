"""Change what one signs in with, by the current password or by a token that was sent to the mailbox."""

import asyncio
import secrets
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.users import passwords, profiles, sessions, throttling
from souk.users.database import db
from souk.users.events import EmailVerificationRequested, PasswordResetRequested
from souk.users.registering import require_system
from souk.users.types import (
    BadMailToken,
    ChangeMe,
    EmailTaken,
    ForgotPassword,
    MailPurpose,
    MailTokenRequest,
    ResetPassword,
    User,
    VerifyEmail,
    WrongPassword,
)

LIVES_S = {"verify_email": 3 * 86400, "reset_password": 3600}
TOKEN_BYTES = 32
# Longer than the work takes, so that the time of the answer does not say whether there is an account.
ANSWER_AFTER_S = 0.1

FIND_DIGEST = "SELECT password_digest, password_changed_at FROM users.users WHERE id = $1"
IS_UNCHANGED = "SELECT password_changed_at = $2 FROM users.users WHERE id = $1"
SET_PASSWORD = """
    UPDATE users.users SET password_digest = $2, password_changed_at = clock_timestamp(), updated_at = now() WHERE id = $1
"""  # noqa: S105
SET_EMAIL = """
    UPDATE users.users SET email = $2, email_verified_at = NULL, updated_at = now()
    WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM users.users WHERE email = $2 AND id <> $1)
"""
SET_VERIFIED = "UPDATE users.users SET email_verified_at = now(), updated_at = now() WHERE id = $1 AND email_verified_at IS NULL"
FIND_ID = "SELECT id FROM users.users WHERE email = $1"
KEEP_TOKENS = """
    INSERT INTO users.mail_token (token_hash, user_id, purpose, email, expires_at)
    SELECT t.token_hash, u.id, t.purpose, u.email, now() + make_interval(secs => t.lasts_s)
    FROM unnest($1::bytea[], $2::uuid[], $3::text[], $4::float8[], $5::text[]) AS t (token_hash, user_id, purpose, lasts_s, email)
    JOIN users.users AS u ON u.id = t.user_id AND (t.email IS NULL OR u.email = t.email)
    RETURNING token_hash
"""
# A token is for the address it was sent to: after a change of address it proves nothing.
FIND_TOKEN = """
    SELECT t.user_id, t.email FROM users.mail_token AS t JOIN users.users AS u ON u.id = t.user_id AND u.email = t.email
    WHERE t.token_hash = $1 AND t.purpose = $2 AND t.expires_at > now()
"""  # noqa: S105
DROP_TOKENS = "DELETE FROM users.mail_token WHERE user_id = $1 AND purpose = $2"
FORGET_TOKENS = "DELETE FROM users.mail_token WHERE expires_at < now()"


class _Digest(msgspec.Struct, frozen=True):
    password_digest: str | None
    password_changed_at: datetime


class _Kept(msgspec.Struct, frozen=True):
    token_hash: bytes


class _Proof(msgspec.Struct, frozen=True):
    user_id: UUID
    email: str


@exposed(timeout=15.0)
async def change_me(change: ChangeMe) -> User:
    """Change the caller's own account. A new password or e-mail address ends their other sessions.

    Raises WrongPassword if one of the two comes without the current password, TooMany after ten failures in fifteen minutes,
    EmailTaken, UsernameTaken. Again with the old password is refused once it is changed.
    """
    who = caller().principal
    user_id = who.require_user()
    password = change.password if change.password is not UNSET else None
    email = sessions.normalise_email(change.email) if change.email is not UNSET else None
    if password is None and email is None:
        return await profiles.change_user(user_id, change)
    if password is not None:
        passwords.refuse_common(password)
    attempts = (throttling.make_key("current password", str(user_id)),)
    checked = await check_current(user_id, change.current_password, attempts)
    digest = await passwords.make_digest(password) if password is not None else None
    async with db.transaction() as tx:
        await sessions.lock_users(tx, [user_id])
        if not await tx.value(IS_UNCHANGED, user_id, checked):
            raise WrongPassword
        await throttling.give_back(tx, attempts)
        if digest is not None:
            await tx.run(SET_PASSWORD, user_id, digest)
        if email is not None and email != (await profiles.find_user(tx, user_id)).email:
            await set_email(tx, user_id, email)
        await tx.run(DROP_TOKENS, user_id, "reset_password")
        await sessions.drop_other_sessions(tx, user_id, keep=who.session_id)
        return await profiles.change_profile(tx, user_id, change)


async def check_current(user_id: UUID, password: str | None, attempts: tuple[throttling.Key, ...]) -> datetime:
    """When the password was set that the user has just proved to know; raises WrongPassword, TooMany."""
    if password is None:
        raise WrongPassword
    await throttling.take(attempts)
    stored = await db.maybe(_Digest, FIND_DIGEST, user_id)
    verdict = await passwords.check_password(password, stored.password_digest if stored else None)
    if stored is None or not verdict.right:
        raise WrongPassword
    return stored.password_changed_at


async def set_email(tx: Transaction, user_id: UUID, email: str) -> None:
    """Write a new address, which is still to be verified; raises EmailTaken."""
    try:
        if not await tx.run(SET_EMAIL, user_id, email):
            raise EmailTaken
    except asyncpg.UniqueViolationError:
        raise EmailTaken from None
    await publish(tx, EmailVerificationRequested(user_id))


@exposed()
async def request_password_reset(forgot: ForgotPassword, address: str) -> None:
    """Have the way back in sent to this mailbox, if it is one of ours: the answer and its time are the same if it is not.

    Asking again has another mail sent; raises TooMany after ten in fifteen minutes for one mailbox or from one network address.
    """
    loop = asyncio.get_running_loop()
    answer_at = loop.time() + ANSWER_AFTER_S
    email = sessions.normalise_email(forgot.email)
    here = throttling.hash_address(address)
    await throttling.take((throttling.make_key("forgot", email), throttling.make_key("forgot from", here)))
    async with db.transaction() as tx:
        found = await tx.maybe(sessions.Id, FIND_ID, email)
        if found is not None:
            await publish(tx, PasswordResetRequested(found.id))
    await asyncio.sleep(answer_at - loop.time())


@exposed(timeout=15.0)
async def reset_password(reset: ResetPassword) -> None:
    """Set a new password with the token of the mail, which proves the mailbox too. Every session ends.

    Raises BadMailToken for a token that is not ours, too old, or used: it works once.
    """
    proof = await find_proof(reset.token, "reset_password")
    digest = await passwords.make_digest(reset.password)
    async with db.transaction() as tx:
        await use_proof(tx, reset.token, proof, "reset_password")
        await tx.run(SET_PASSWORD, proof.user_id, digest)
        await tx.run(SET_VERIFIED, proof.user_id)
        await throttling.clear(tx, throttling.make_key("login", proof.email))
        await sessions.drop_other_sessions(tx, proof.user_id, keep=None)


@exposed()
async def request_email_verification() -> None:
    """Have a mail sent to the caller's own address, if it is not verified yet. Raises TooMany after ten in fifteen minutes."""
    user_id = caller().principal.require_user()
    await throttling.take((throttling.make_key("verify", str(user_id)),))
    async with db.transaction() as tx:
        if not (await profiles.find_user(tx, user_id)).email_verified:
            await publish(tx, EmailVerificationRequested(user_id))


@exposed()
async def verify_email(verify: VerifyEmail) -> None:
    """The mailbox is its user's: the token of the mail shows it. Raises BadMailToken, also to another user who is signed in."""
    proof = await find_proof(verify.token, "verify_email")
    if caller().principal.user_id not in (None, proof.user_id):
        raise BadMailToken
    async with db.transaction() as tx:
        await use_proof(tx, verify.token, proof, "verify_email")
        await tx.run(SET_VERIFIED, proof.user_id)


@exposed()
async def issue_token(user_id: UUID, purpose: MailPurpose, email: str | None = None) -> str:
    """A new token to send to the user's mailbox: 3 days to verify it, an hour for a new password. The older ones stay good.

    It proves the mailbox that the user has now: who knows already where it is sent says so. Raises NotFound, also if that is another
    mailbox than the user's, and Forbidden for anybody but the system, whose mailer asks when it sends.
    """
    (token,) = await keep_tokens((MailTokenRequest(user_id, purpose, email),))
    if token is None:
        raise NotFound
    return token


@exposed()
async def issue_mail_tokens(asked: tuple[MailTokenRequest, ...]) -> tuple[str | None, ...]:
    """New tokens to send to users' mailboxes, in their order; none where `issue_token` raises NotFound. Raises Forbidden."""
    return await keep_tokens(asked)


async def keep_tokens(asked: tuple[MailTokenRequest, ...]) -> tuple[str | None, ...]:
    """Make a token for each of these mailboxes that is its user's, and keep their digests. Raises Forbidden."""
    require_system()
    tokens = [secrets.token_urlsafe(TOKEN_BYTES) for _ in asked]
    hashes = [sessions.hash_token(token) for token in tokens]
    lives_s = [float(LIVES_S[one.purpose]) for one in asked]
    async with db.transaction() as tx:
        rows = await tx.all(_Kept, KEEP_TOKENS, hashes, *columns(asked, "user_id", "purpose"), lives_s, *columns(asked, "email"))
    kept = {bytes(row.token_hash) for row in rows}
    return tuple(token if hashed in kept else None for token, hashed in zip(tokens, hashes, strict=True))


async def find_proof(token: str, purpose: MailPurpose) -> _Proof:
    """Whose mailbox a token proves; raises BadMailToken."""
    proof = await db.maybe(_Proof, FIND_TOKEN, sessions.hash_token(token), purpose)
    if proof is None:
        raise BadMailToken
    return proof


async def use_proof(tx: Transaction, token: str, proof: _Proof, purpose: MailPurpose) -> None:
    """Lock the user and void the tokens for this purpose; raises BadMailToken if this one was used meanwhile."""
    await sessions.lock_users(tx, [proof.user_id])
    if await tx.maybe(_Proof, FIND_TOKEN, sessions.hash_token(token), purpose) is None:
        raise BadMailToken
    await tx.run(DROP_TOKENS, proof.user_id, purpose)


async def forget_tokens() -> int:
    """Drop tokens that are too old; how many."""
    async with db.transaction() as tx:
        return await tx.run(FORGET_TOKENS)
