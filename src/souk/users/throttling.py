"""How often something may be tried: so often in so many minutes, per account and per network address.

A stranger's guesses at an account are counted together, wherever they come from. Whoever has been signed in from an address
before has a count of their own there, so that no stranger can lock an owner out.
"""

import hmac
import ipaddress
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NewType

import msgspec

from souk.kit.db import Transaction
from souk.kit.errors import TooMany
from souk.users.database import db
from souk.users.settings import settings, shop_secret

# What is counted, and where: keyed hashes, so that the table names nobody.
Key = NewType("Key", bytes)

TAKE = """
    INSERT INTO users.attempt AS a (key, tried_at)
    SELECT u.key, ARRAY[clock_timestamp()] FROM unnest($1::bytea[]) AS u (key) ORDER BY u.key
    ON CONFLICT (key) DO UPDATE SET
        tried_at = array(SELECT t FROM unnest(a.tried_at) AS t WHERE t > now() - make_interval(secs => $2) ORDER BY t) || excluded.tried_at,
        updated_at = now()
    RETURNING tried_at
"""
GIVE_BACK = """
    UPDATE users.attempt SET tried_at = trim_array(tried_at, 1)
    WHERE key IN (SELECT key FROM users.attempt WHERE key = ANY($1) ORDER BY key FOR UPDATE) AND cardinality(tried_at) > 0
"""
CLEAR = "DELETE FROM users.attempt WHERE key = $1"
FORGET = "DELETE FROM users.attempt WHERE updated_at < now() - make_interval(secs => $1)"


class _Tries(msgspec.Struct, frozen=True):
    tried_at: tuple[datetime, ...]


async def take(keys: tuple[Key, ...]) -> None:
    """Count an attempt under each of these keys, before it is known how it ends; raises TooMany and then counts nothing."""
    limit, window_s = settings.now.attempts, settings.now.attempts_window_s
    async with db.transaction() as tx:
        for row in await tx.all(_Tries, TAKE, keys, float(window_s)):
            if len(row.tried_at) > limit:
                free_at = row.tried_at[-1 - limit] + timedelta(seconds=window_s)
                raise TooMany(max(1, ceil((free_at - datetime.now(UTC)).total_seconds())))


async def give_back(tx: Transaction, keys: tuple[Key, ...]) -> None:
    """The attempt was honest: it does not count."""
    await tx.run(GIVE_BACK, keys)


async def clear(tx: Transaction, key: Key) -> None:
    """Begin to count anew."""
    await tx.run(CLEAR, key)


async def forget_attempts() -> int:
    """Drop what lies too far back to count; how many rows."""
    async with db.transaction() as tx:
        return await tx.run(FORGET, float(settings.now.attempts_window_s))


def make_key(what: str, *who: str | bytes) -> Key:
    """The key under which attempts at something by somebody are counted."""
    parts = (what, *(one.hex() if isinstance(one, bytes) else one for one in who))
    return Key(hmac.digest(shop_secret(), "\n".join(parts).encode(), "sha256"))


def hash_address(address: str) -> bytes:
    """A keyed hash of a network address. A home has a whole /64 of IPv6, which counts as one address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return make_key("address", address)
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return make_key("address", str(ipaddress.ip_network((parsed, 64), strict=False)))
    return make_key("address", str(parsed.ipv4_mapped or parsed) if parsed.version == 6 else str(parsed))
