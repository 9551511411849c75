"""What memories of several processes share in the cache, so that one of them reads the database for all."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from souk.kit.cache import cache
from souk.kit.outbox import START, Position
from souk.kit.telemetry import CACHE_READS

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Load = Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]

# Another number when what is kept means something else though its type is the same.
FORMAT = 1
EVERYTHING = object()
MOST_MARKS = 50_000

# Who wants to read what another is reading looks again after these pauses, and then reads it, too.
PAUSES_S = (0.004, 0.008, 0.016, 0.032)
LEASE_MS = 250


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    key: str  # so that no answer is ever taken for another
    xid: int
    id: int
    value: bytes


class Hearing(msgspec.Struct, frozen=True):
    """What a memory is just told: facts of this process, whose place is not known yet, or one that has come, with its place."""

    event_ids: tuple[UUID, ...]
    place: Position | None = None


class Shared(Generic[K, V]):
    """Values that were loaded by any process of the shop, taken only while it is sure that they are as good as what a load gives.

    Each value carries a place: all facts up to there had happened before it was loaded. This process knows up to where it has heard
    the facts, and which of them has changed what. A value is taken if its place is not before the last change of it that was heard;
    what changes later will be heard, as with values that were loaded here. So nothing has to be removed when something changes, and
    nothing can go wrong between a load and a removal. A cache that is flushed, that lost some of its values, or that has
    yesterday's, holds fewer values that are taken, and that is all.

    What this process has just changed is not taken until that fact has come back to it with its place.
    """

    def __init__(
        self,
        kind: str,
        write: Callable[[V], bytes],
        read: Callable[[bytes], V],
        *,
        like: object,
        depends_on: Callable[[], object] = lambda: None,
        kept_s: float = 3600.0,
    ) -> None:
        self.kind = kind
        self._write = write
        self._read = read
        self._like = like  # the type of what is kept: another release may have another one, and does not read ours
        self._depends_on = depends_on  # settings that the values depend on
        self._kept_s = kept_s
        self._prefix = ""
        self._place: Position | None = None
        self._floor: Position = START
        self._changed: dict[Hashable, Position] = {}
        self._own: dict[UUID, frozenset[Hashable]] = {}
        self._blocked: Counter[Hashable] = Counter()

    def begin(self, life: str, floor: Position) -> None:
        """What changed after `floor` is told next; what changed before is not known."""
        about = (FORMAT, life, msgspec.json.schema(self._like, schema_hook=lambda kind: {"title": kind.__name__}), self._depends_on())
        self._prefix = f"souk:{self.kind}:{sha256(msgspec.json.encode(about)).hexdigest()[:16]}:"
        self._floor = floor
        self._changed.clear()

    def reach(self, place: Position) -> None:
        """All facts up to this place have been told."""
        self._place = place

    def end(self) -> None:
        """Nothing is told any more."""
        self._place = None

    def forget(self, wholes: Iterable[Hashable], hearing: Hearing) -> None:
        """These have changed."""
        if not cache.is_used:
            return
        if hearing.place is None:
            self._block(frozenset(wholes), hearing.event_ids)
            return
        self._changed.update(dict.fromkeys(wholes, hearing.place))
        if len(self._changed) > MOST_MARKS:
            self._floor = hearing.place
            self._changed.clear()
        self._release(hearing.event_ids)

    def forget_all(self, hearing: Hearing) -> None:
        """Anything may have changed."""
        if not cache.is_used:
            return
        if hearing.place is None:
            self._block(frozenset((EVERYTHING,)), hearing.event_ids)
            return
        self._floor = hearing.place
        self._changed.clear()
        self._release(hearing.event_ids)

    def _block(self, wholes: frozenset[Hashable], event_ids: Iterable[UUID]) -> None:
        for event_id in event_ids:
            self._own[event_id] = wholes
            self._blocked.update(wholes)
        while len(self._own) > MOST_MARKS:  # nobody tells us what comes of them
            self._release((next(iter(self._own)),))

    def _release(self, event_ids: Iterable[UUID]) -> None:
        for event_id in event_ids:
            for whole in self._own.pop(event_id, ()):
                self._blocked[whole] -= 1
                if not self._blocked[whole]:
                    del self._blocked[whole]

    def drop(self, keys: Iterable[K]) -> None:
        """Nobody is to keep these any longer than they must; a load under way may still bring them back, for as long as values are kept."""
        cache.write({}, 0, gone=[self._name(key) for key in keys])

    async def load(self, load: Load[K, V], whole_of: Callable[[K, V], Hashable], keys: Sequence[K]) -> Mapping[K, V]:
        """The values that there are: taken, or loaded, and then there for others, too."""
        # Both belong to one life of the database, which may be another one by the time that we have loaded.
        place, prefix = self._place, self._prefix
        if place is None or not cache.is_used:
            return await load(keys)
        found = await self._take(keys, whole_of)
        missing = [key for key in keys if key not in found]
        if not missing:
            return found
        claims = await cache.claim([self._name(key, "lease") for key in missing], LEASE_MS)
        ours = [key for key, claimed in zip(missing, claims, strict=True) if claimed]
        if ours:
            found |= await self._load_for_all(load, ours, place, prefix)
        if others := [key for key in missing if key not in set(ours)]:
            found |= await self._wait_for(others, whole_of)
        if late := [key for key in others if key not in found]:
            found |= await self._load_for_all(load, late, place, prefix)
        return found

    async def _take(self, keys: Sequence[K], whole_of: Callable[[K, V], Hashable]) -> dict[K, V]:
        answers = await cache.read([self._name(key) for key in keys])
        if answers is None:
            CACHE_READS.labels(self.kind, "silence").inc(len(keys))
            return {}
        found: dict[K, V] = {}
        outcomes: Counter[str] = Counter()
        for key, answer in zip(keys, answers, strict=True):
            value, outcome = self._judge(key, answer, whole_of)
            outcomes[outcome] += 1
            if value is not None:
                found[key] = value
        for outcome, count in outcomes.items():
            CACHE_READS.labels(self.kind, outcome).inc(count)
        return found

    def _judge(self, key: K, answer: bytes | None, whole_of: Callable[[K, V], Hashable]) -> tuple[V | None, str]:
        if answer is None:
            return None, "miss"
        try:
            entry = _decoder.decode(answer)
            value = self._read(entry.value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None, "garbage"
        if entry.key != self._name(key):
            return None, "garbage"
        return (value, "hit") if self._may_take(whole_of(key, value), (entry.xid, entry.id)) else (None, "old")

    def _may_take(self, whole: Hashable, loaded_at: Position) -> bool:
        if self._place is None or self._blocked[whole] or self._blocked[EVERYTHING]:
            return False
        return loaded_at >= self._floor and loaded_at >= self._changed.get(whole, START)

    async def _load_for_all(self, load: Load[K, V], keys: Sequence[K], place: Position, prefix: str) -> Mapping[K, V]:
        loaded = await load(keys)
        named = {_name(prefix, "value", key): value for key, value in loaded.items()}
        entries = {name: _encoder.encode(_Entry(name, *place, self._write(value))) for name, value in named.items()}
        cache.write(entries, self._kept_s, gone=[_name(prefix, "lease", key) for key in keys])
        CACHE_READS.labels(self.kind, "loaded").inc(len(keys))
        return loaded

    async def _wait_for(self, keys: Sequence[K], whole_of: Callable[[K, V], Hashable]) -> Mapping[K, V]:
        """What others are just loading, those of it that come soon."""
        found: dict[K, V] = {}
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            if not (waited := [key for key in keys if key not in found]):
                break
            leases = await cache.read([self._name(key, "lease") for key in waited])
            found |= await self._take(waited, whole_of)
            if leases is None or not any(lease is not None for lease in leases):
                break
        return found

    def _name(self, key: K, what: str = "value") -> str:
        return _name(self._prefix, what, key)


def _name(prefix: str, what: str, key: Hashable) -> str:
    return f"{prefix}{what}:{key}"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Entry)
