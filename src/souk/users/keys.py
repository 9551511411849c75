"""The keys that sign access tokens: made, sealed, shown to whoever checks a token, and replaced before they are old."""

import logging
import secrets
from base64 import urlsafe_b64encode
from typing import Literal

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from souk.kit.auth import TOKEN_TYPE, Claims, PublicKey, Revocation, TokenPolicy
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.sealing import seal
from souk.kit.sealing import unseal as open_seal
from souk.users.database import db
from souk.users.settings import settings, shop_secret

log = logging.getLogger(__name__)

# A new key is shown for so long before it signs that every process has heard of it.
SHOWN_BEFORE_S = 60
# How far the clocks of two of our machines may be apart.
CLOCKS_APART_S = 60

FIND_PUBLIC_KEYS = """
    SELECT kid, public_key AS raw FROM users.signing_key WHERE expires_at IS NULL OR expires_at > now() ORDER BY kid LIMIT 100
"""
# No LIMIT: a revocation that is left out is a token that is accepted. Rows of the last minutes only.
FIND_REVOCATIONS = """
    SELECT subject_id, extract(epoch FROM before)::float8 AS before FROM users.revocation
    WHERE before > now() - make_interval(secs => $1) ORDER BY before
"""
FIND_SIGNING_KEYS = """
    SELECT kid, sealed FROM users.signing_key
    WHERE signs_from <= now() AND (expires_at IS NULL OR expires_at > now())
    ORDER BY signs_from DESC, kid DESC LIMIT 5
"""
KEEP_KEY = """
    INSERT INTO users.signing_key (kid, public_key, sealed, signs_from) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
"""
RETIRE_OTHERS = """
    UPDATE users.signing_key SET expires_at = now() + make_interval(secs => $2), updated_at = now()
    WHERE kid <> $1 AND (expires_at IS NULL OR expires_at > now() + make_interval(secs => $2))
"""
IS_OLD = "SELECT max(created_at) < now() - make_interval(days => $1) FROM users.signing_key"
FORGET_KEYS = "DELETE FROM users.signing_key WHERE expires_at < now()"
FORGET_REVOCATIONS = "DELETE FROM users.revocation WHERE before < now() - make_interval(secs => $1)"


class Jwk(msgspec.Struct, frozen=True):
    """A public key (RFC 8037)."""

    kid: str
    x: str
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"


class Jwks(msgspec.Struct, frozen=True):
    """The keys that access tokens are signed with (RFC 7517)."""

    keys: tuple[Jwk, ...]


class SealedKey(msgspec.Struct, frozen=True):
    """A private key as it lies in the database."""

    kid: str
    sealed: bytes


@exposed()
async def get_token_policy() -> TokenPolicy:
    """The keys that access tokens are checked with, and what is revoked; the first question makes the first key."""
    keys = await db.all(PublicKey, FIND_PUBLIC_KEYS)
    if not keys:
        async with db.transaction() as tx:
            await find_signing_key(tx)
        keys = await db.all(PublicKey, FIND_PUBLIC_KEYS)
    revocations = await db.all(Revocation, FIND_REVOCATIONS, float(settings.now.access_token_s + CLOCKS_APART_S))
    return TokenPolicy(keys, revocations)


@exposed()
async def get_public_keys() -> Jwks:
    """The keys that access tokens are checked with, as a JSON Web Key Set."""
    keys = await db.all(PublicKey, FIND_PUBLIC_KEYS)
    return Jwks(tuple(Jwk(key.kid, urlsafe_b64encode(key.raw).decode().rstrip("=")) for key in keys))


@exposed()
async def rotate_signing_key(distrust_others: bool) -> str:
    """Sign with a new key; its id. Each call makes one. Raises Forbidden for anybody but an admin.

    Every process hears of the new key before it signs, and the tokens of the others are good until they expire. With
    `distrust_others`, for a key that was stolen, it signs at once and the others are void: everybody refreshes.
    """
    caller().principal.require_admin()
    async with db.transaction() as tx:
        return await add_key(tx, 0 if distrust_others else SHOWN_BEFORE_S, distrust_others=distrust_others)


async def rotate_old_key() -> int:
    """Make a new key if the newest is old, and forget keys whose last token has expired; how many keys came or went."""
    async with db.transaction() as tx:
        changed = await tx.run(FORGET_KEYS)
        if await tx.value(IS_OLD, settings.now.signing_key_days):
            await add_key(tx, SHOWN_BEFORE_S)
            changed += 1
    return changed


async def forget_revocations() -> int:
    """Drop revocations of tokens that have all expired; how many."""
    async with db.transaction() as tx:
        return await tx.run(FORGET_REVOCATIONS, float(settings.now.access_token_s + CLOCKS_APART_S))


async def sign(tx: Transaction, claims: Claims) -> str:
    """The access token that says this."""
    kid, key = await find_signing_key(tx)
    return jwt.encode(msgspec.to_builtins(claims), key, algorithm="EdDSA", headers={"kid": kid, "typ": TOKEN_TYPE})


async def find_signing_key(tx: Transaction) -> tuple[str, Ed25519PrivateKey]:
    """The newest key that signs by now, and that the secret of this process opens; if there is none, a new one."""
    for row in await tx.all(SealedKey, FIND_SIGNING_KEYS):
        if (key := unseal(row)) is not None:
            return row.kid, key
        log.warning("signing_key_unreadable", extra={"kid": row.kid})
    kid = await add_key(tx, 0)
    (made,) = (row for row in await tx.all(SealedKey, FIND_SIGNING_KEYS) if row.kid == kid)
    key = unseal(made)
    assert key is not None  # noqa: S101  sealed a moment ago
    return kid, key


async def add_key(tx: Transaction, shown_before_s: int, *, distrust_others: bool = False) -> str:
    """Write a new key that signs after so many seconds, and give the others their end."""
    key = Ed25519PrivateKey.generate()
    kid = secrets.token_urlsafe(12)
    sealed = seal(shop_secret(), key.private_bytes_raw(), kid.encode())
    await tx.run(KEEP_KEY, kid, key.public_key().public_bytes_raw(), sealed, float(shown_before_s))
    last_token_s = 0 if distrust_others else shown_before_s + settings.now.access_token_s + CLOCKS_APART_S
    await tx.run(RETIRE_OTHERS, kid, float(last_token_s))
    return kid


def unseal(row: SealedKey) -> Ed25519PrivateKey | None:
    """The private key; None if it was sealed under another secret (a database that was moved without its home)."""
    raw = open_seal(shop_secret(), row.sealed, row.kid.encode())
    return None if raw is None else Ed25519PrivateKey.from_private_bytes(raw)
