"""Idempotency keys of what is put into carts: one statement claims those of a whole batch."""

import hashlib
from uuid import UUID

import msgspec

from souk.kit.callers import Caller, caller
from souk.kit.db import Transaction, columns
from souk.kit.idempotency import IdempotencyKeyReused

# The answer is derived from the cart, so its id is all that is kept, and it is known before anything is done.
CLAIM_KEYS = """
    INSERT INTO carts.idempotency_key (subject, key, function, fingerprint, answer)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[]) AS u (subject, key, function, fingerprint, answer)
    ORDER BY u.subject, u.key
    ON CONFLICT (subject, key) DO NOTHING
    RETURNING subject, key, function, fingerprint, answer
"""
FIND_KEYS = """
    SELECT k.subject, k.key, k.function, k.fingerprint, k.answer
    FROM unnest($1::text[], $2::text[]) AS u (subject, key)
    JOIN carts.idempotency_key AS k ON k.subject = u.subject AND k.key = u.key
"""


class Claim(msgspec.Struct, frozen=True):
    """A request that carries a key, and the cart that it is about."""

    subject: str
    key: str
    function: str
    fingerprint: bytes
    answer: bytes

    @property
    def cart_id(self) -> UUID:
        return UUID(bytes=self.answer)

    def repeats(self, earlier: "Claim") -> bool:
        """Whether this is the same request once more, not another one under its key."""
        return (self.function, self.fingerprint) == (earlier.function, earlier.fingerprint)


def make_claim(who: Caller, subject: str, cart_id: UUID, request: msgspec.Struct) -> Claim | None:
    """The claim of a request; None without a key."""
    if who.idempotency_key is None:
        return None
    fingerprint = hashlib.sha256(msgspec.msgpack.encode(request)).digest()
    return Claim(subject, who.idempotency_key, who.inside or "", fingerprint, cart_id.bytes)


async def claim_keys(tx: Transaction, claims: tuple[Claim, ...]) -> dict[tuple[str, str], Claim]:
    """Take these keys; who has those that were taken already. A twin that is still at work is waited for."""
    if not claims:
        return {}
    won = set(await tx.all(Claim, CLAIM_KEYS, *columns(claims, "subject", "key", "function", "fingerprint", "answer")))
    lost = tuple(claim for claim in claims if claim not in won)
    holders = await tx.all(Claim, FIND_KEYS, *columns(lost, "subject", "key")) if lost else ()
    return {(claim.subject, claim.key): claim for claim in holders}


async def is_first(tx: Transaction, cart_id: UUID, request: msgspec.Struct) -> bool:
    """Whether this change of a cart is to be made: it has no key, or nobody has used the key. Raises IdempotencyKeyReused.

    Keys are kept per cart, because guests have no name but the token of their cart.
    """
    claim = make_claim(caller(), f"cart:{cart_id}", cart_id, request)
    if claim is None:
        return True
    for holder in (await claim_keys(tx, (claim,))).values():
        if not claim.repeats(holder):
            raise IdempotencyKeyReused
        return False
    return True
