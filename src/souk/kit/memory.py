"""What a process keeps of its database in memory: read through, dropped when a fact says that it has changed, bounded."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from math import inf
from time import monotonic
from typing import Generic, TypeVar

from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import caller

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Load = Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]


class Memory(Generic[K, V]):
    """Up to `size` values, those used last. What is not there is loaded, many at once; what does not exist is not kept.

    Values are kept for `age_s` seconds or, without it, while this process hears of changes: a consumer of the kind "memory" calls
    `forget` for each. A value that changes while it is being loaded is given to who asked before, and not kept.
    """

    def __init__(self, load: Load[K, V], size: int, age_s: float | None = None) -> None:
        self._load = load
        self._size = size
        self._age_s = age_s
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()  # until when, and what
        self._loading: dict[K, bool] = {}  # and whether it is to be kept when it comes
        self._batcher: Batcher[K, V | None] = Batcher(self._work, lanes=2, turns=False)
        self._needed: set[Hashable] = set()
        self._heard: set[Hashable] = set()

    def need(self, source: Hashable) -> None:
        """Changes are told by this source, among others."""
        self._needed.add(source)

    def begin(self, source: Hashable) -> None:
        """From now on each change that this source tells of comes through; what changed before may have been missed."""
        self.clear()
        self._heard.add(source)

    def end(self, source: Hashable) -> None:
        """This source tells nothing any more."""
        self._heard.discard(source)
        self.clear()

    def peek(self, key: K) -> V | None:
        """The value if it is here."""
        kept = self._kept.get(key)
        if kept is None or kept[0] < monotonic():
            return None
        self._kept.move_to_end(key)
        return kept[1]

    async def get(self, key: K) -> V | None:
        """The value; None if there is none."""
        kept = self.peek(key)
        return kept if kept is not None else await self._batcher.ask(key, caller())

    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values that there are."""
        wanted = list(dict.fromkeys(keys))
        found = {key: kept for key in wanted if (kept := self.peek(key)) is not None}
        if missing := [key for key in wanted if key not in found]:
            loaded = await asyncio.gather(*(self.get(key) for key in missing))
            found |= {key: value for key, value in zip(missing, loaded, strict=True) if value is not None}
        return found

    def forget(self, keys: Iterable[K]) -> None:
        """These have changed."""
        for key in keys:
            self._kept.pop(key, None)
            if key in self._loading:
                self._loading[key] = False

    def clear(self) -> None:
        """Anything may have changed."""
        self._kept.clear()
        self._loading = dict.fromkeys(self._loading, False)

    async def _work(self, asked: tuple[Asked[K], ...]) -> Answers[V | None]:
        keys = list(dict.fromkeys(one.request for one in asked))
        self._loading.update(dict.fromkeys(keys, True))
        found: Mapping[K, V] = {}
        try:
            found = await self._load(keys)
        finally:
            unchanged = {key for key in keys if self._loading.pop(key, False)}
        if self._age_s is not None or (self._needed and self._needed <= self._heard):
            until = inf if self._age_s is None else monotonic() + self._age_s
            self._kept.update((key, (until, found[key])) for key in keys if key in unchanged and key in found)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return tuple(found.get(one.request) for one in asked)
