"""Access tokens: checked in every process with public keys, and refused within a second or two of their revocation."""

import asyncio
import logging
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from uuid import UUID

import msgspec
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey  # libsodium checks a signature in half the time that OpenSSL takes

from souk.kit.callers import Principal
from souk.kit.db import NOT_NOW
from souk.kit.errors import Unauthenticated, Unavailable

log = logging.getLogger(__name__)

ISSUER = "souk"
AUDIENCE = "souk"
TOKEN_TYPE = "at+jwt"  # noqa: S105  RFC 9068's name of the type, not a secret
LONGEST_TOKEN = 4096
KEPT_TOKENS = 20_000
REFRESH_S = 1.0
CLOCK_SKEW_S = 30
SEGMENT = re.compile(rb"[A-Za-z0-9_-]+")


class PublicKey(msgspec.Struct, frozen=True):
    """An Ed25519 key that access tokens are signed with."""

    kid: str
    raw: bytes


class Revocation(msgspec.Struct, frozen=True):
    """Tokens of this user or session that were issued before this moment (Unix seconds) are void."""

    subject_id: UUID
    before: float


class TokenPolicy(msgspec.Struct, frozen=True):
    """What it takes to check a token: the keys in use and what was revoked while tokens of that age still live."""

    keys: tuple[PublicKey, ...] = ()
    revocations: tuple[Revocation, ...] = ()


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an access token says (RFC 9068)."""

    iss: str
    aud: str
    sub: UUID
    sid: UUID
    iat: float
    exp: float
    roles: tuple[str, ...] = ()
    sellers: tuple[UUID, ...] = ()
    owned: tuple[int, ...] = ()  # which of the sellers, by their places: a token has little room
    nbf: float = 0.0


class Grant(msgspec.Struct, frozen=True):
    """What somebody may do because of what they brought: who they are, and from when to when (Unix seconds)."""

    principal: Principal
    issued_at: float
    expires_at: float


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The head of a token (RFC 7515). What we do not know in it, such as `crit` or `jku`, is not to be passed over."""

    alg: str
    kid: str
    typ: str = ""


_read_header = msgspec.json.Decoder(_Header).decode
_read_claims = msgspec.json.Decoder(Claims).decode


def decode_segment(segment: bytes) -> bytes:
    """Base64url without padding (RFC 7515, appendix C); raises ValueError for anything else."""
    if not SEGMENT.fullmatch(segment):
        raise ValueError("not base64url")
    return urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


class Verifier:
    """Checks access tokens against the newest policy it has heard of; a checked token is remembered until it expires."""

    def __init__(self) -> None:
        self._has_learned = False
        self._keys: dict[str, VerifyKey] = {}
        self._void_before: dict[UUID | None, float] = {}
        self._known: dict[bytes, Grant] = {}
        self._unknown_key = asyncio.Event()

    def learn(self, policy: TokenPolicy) -> None:
        """From now on this policy holds."""
        self._has_learned = True
        kids = {key.kid for key in policy.keys}
        if kids != self._keys.keys():
            self._known.clear()
            self._keys = {key.kid: VerifyKey(key.raw) for key in policy.keys}
        self._void_before = {revoked.subject_id: revoked.before for revoked in policy.revocations}

    def verify(self, token: str) -> Principal:
        """Whose token this is; raises what `find_grant` raises."""
        return self.find_grant(token).principal

    def find_grant(self, token: str) -> Grant:
        """What this token grants; raises Unauthenticated, or Unavailable as long as no policy has been heard of."""
        if not self._has_learned:
            raise Unavailable("the keys of access tokens are not known yet")
        # Under its digest: a token is ten times as long.
        digest = blake2b(token.encode(), digest_size=20).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._check(token)
            if len(self._known) >= KEPT_TOKENS:
                self._known.clear()
            self._known[digest] = known
        if not self.holds(known):
            self._known.pop(digest, None)
            raise Unauthenticated
        return known

    def holds(self, grant: Grant) -> bool:
        """Whether what was granted once is still good: its time is not over, and nobody has revoked it."""
        who = grant.principal
        void_before = max(self._void_before.get(who.session_id, 0.0), self._void_before.get(who.user_id, 0.0))
        return grant.issued_at >= void_before and grant.expires_at > time.time()

    def _check(self, token: str) -> Grant:
        if len(token) > LONGEST_TOKEN:
            raise Unauthenticated
        try:
            signed, _, signature = token.encode("ascii").rpartition(b".")
            header, _, payload = signed.partition(b".")
            self._find_key(header).verify(signed, decode_segment(signature))
            claims = _read_claims(decode_segment(payload))
        except (CryptoError, msgspec.DecodeError, ValueError) as forged:
            raise Unauthenticated from forged
        now = time.time()
        # The leeway is for the clock of the machine that made it; `exp` is looked at again, exactly, by `verify`.
        if claims.iss != ISSUER or claims.aud != AUDIENCE or max(claims.iat, claims.nbf) > now + CLOCK_SKEW_S:
            raise Unauthenticated
        owned = tuple(seller_id for place, seller_id in enumerate(claims.sellers) if place in claims.owned)
        return Grant(Principal("user", claims.sub, claims.roles, claims.sellers, claims.sid, owned), claims.iat, claims.exp)

    def _find_key(self, segment: bytes) -> VerifyKey:
        """The key that a token's header names; its algorithm is ours to say, and the header has to agree."""
        header = _read_header(decode_segment(segment))
        key = self._keys.get(header.kid)
        if key is None:
            self._unknown_key.set()
        if key is None or header.alg != "EdDSA" or header.typ != TOKEN_TYPE:
            raise Unauthenticated
        return key

    async def follow(self, fetch: Callable[[], Awaitable[TokenPolicy]]) -> None:
        """Ask for the policy every second, and at once when a token names a key that we have not heard of."""
        while True:
            try:
                self.learn(await fetch())
            except (Unavailable, *NOT_NOW) as silence:
                # The last policy stays: what was valid goes on, and a shop whose users context is away still sells.
                log.warning("token_policy_unavailable", extra={"reason": str(silence)})
            self._unknown_key.clear()
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._unknown_key.wait()
                await asyncio.sleep(0.1)
            except TimeoutError:
                continue
