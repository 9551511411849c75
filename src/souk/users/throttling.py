"""How often something may be tried: so often in so many minutes, per account and per network address.

A stranger's guesses at an account are counted together, wherever they come from. Whoever has been signed in from an address
before has a count of their own there, so that no stranger can lock an owner out.
"""

import hmac
import ipaddress
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NewType

import msgspec

from souk.kit.cache import cache
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
    RETURNING key, tried_at
"""
GIVE_BACK = """
    UPDATE users.attempt SET tried_at = trim_array(tried_at, 1)
    WHERE key IN (SELECT key FROM users.attempt WHERE key = ANY($1) ORDER BY key FOR UPDATE) AND cardinality(tried_at) > 0
"""
CLEAR = "DELETE FROM users.attempt WHERE key = $1"
FORGET = "DELETE FROM users.attempt WHERE updated_at < now() - make_interval(secs => $1)"


# Whoever is refused is told to come again in a second at the earliest. Until then nobody asks the table for them.
REFUSED_FOR_S = 1.0


class _Tries(msgspec.Struct, frozen=True):
    key: Key
    tried_at: tuple[datetime, ...]


async def take(keys: tuple[Key, ...]) -> None:
    """Count an attempt under each of these keys, before it is known how it ends; raises TooMany and then counts nothing."""
    limit, window_s = settings.now.attempts, settings.now.attempts_window_s
    await require_not_refused(keys)
    async with db.transaction() as tx:
        for row in await tx.all(_Tries, TAKE, keys, float(window_s)):
            if len(row.tried_at) > limit:
                free_at = row.tried_at[-1 - limit] + timedelta(seconds=window_s)
                remember_refusal(row.key, free_at)
                raise TooMany(count_seconds_until(free_at))


async def require_not_refused(keys: tuple[Key, ...]) -> None:
    """Raises TooMany if the table has just refused one of these, to whichever process. It never lets anybody through."""
    names = [name_refusal(key) for key in keys]
    for name, kept in zip(names, await cache.read(names) or (), strict=False):
        with suppress(msgspec.DecodeError):
            if kept is not None and (refusal := msgspec.msgpack.decode(kept, type=_Refusal)).name == name:
                raise TooMany(count_seconds_until(refusal.free_at))


def remember_refusal(key: Key, free_at: datetime) -> None:
    """All processes may refuse this for a second without asking."""
    name = name_refusal(key)
    cache.write({name: msgspec.msgpack.encode(_Refusal(name, free_at))}, REFUSED_FOR_S)


def name_refusal(key: Key) -> str:
    return f"souk:refused:{key.hex()}"


def count_seconds_until(free_at: datetime) -> int:
    return max(1, ceil((free_at - datetime.now(UTC)).total_seconds()))


class _Refusal(msgspec.Struct, frozen=True, array_like=True):
    name: str
    free_at: datetime


async def give_back(tx: Transaction, keys: tuple[Key, ...]) -> None:
    """The attempt was honest: it does not count."""
    await tx.run(GIVE_BACK, keys)


async def clear(tx: Transaction, key: Key) -> None:
    """Begin to count anew."""
    await tx.run(CLEAR, key)
    cache.write({}, 0, gone=[name_refusal(key)])


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
