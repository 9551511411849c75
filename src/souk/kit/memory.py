"""What a process keeps of its database in memory: read through, dropped when a fact says that it has changed, bounded."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import caller
from souk.kit.sharing import Hearing, Load, Shared

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Once(Generic[K]):
    """Equal values as one object: of what thousands of entries have in common each holds the same, and not one of its own."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[K, K] = {}

    def __call__(self, value: K) -> K:
        """An equal value, the first that was seen of late."""
        if len(self._known) > self._size:
            self._known.clear()
        return self._known.setdefault(value, value)


class Told:
    """A memory that is good while it is told of changes: everything in it is void when that begins, and when it breaks off."""

    shared: Shared[Any, Any] | None = None

    def __init__(self) -> None:
        self._needed: set[Hashable] = set()
        self._begun: set[Hashable] = set()
        self.hearing = Hearing(())  # what it is just told of

    @property
    def hears(self) -> bool:
        """Whether all changes come through."""
        return bool(self._needed) and self._needed <= self._begun

    def need(self, source: Hashable) -> None:
        """Changes are told by this source, among others."""
        self._needed.add(source)
        if self.shared is not None and len(self._needed) > 1:
            raise TypeError(f"What is shared is told of by one source: places of two are not to be compared ({source})")

    def begin(self, source: Hashable) -> None:
        """From now on each change that this source tells of comes through; what changed before may have been missed."""
        self.hearing = Hearing(())
        self.clear()
        self._begun.add(source)

    def end(self, source: Hashable) -> None:
        """This source tells nothing any more."""
        self._begun.discard(source)
        if self.shared is not None:
            self.shared.end()
        self.hearing = Hearing(())
        self.clear()

    def clear(self) -> None:
        """Anything may have changed."""
        raise NotImplementedError


class Memory(Told, Generic[K, V]):
    """Up to `size` values, those used last. What is not there is loaded, many at once; what does not exist is not kept.

    Values are kept while this process hears of changes: a consumer of the kind "memory" calls `forget` for each. A value that
    changes while it is being loaded is given to who asked before, and not kept. A fact may name less than the key: `whole_of` says
    what a value is part of, and `forget_parts` forgets all parts of that. What is `shared` is looked for in the cache before it is loaded.
    """

    def __init__(
        self, load: Load[K, V], size: int, whole_of: Callable[[V], Hashable] | None = None, shared: Shared[K, V] | None = None
    ) -> None:
        super().__init__()
        self._load = load
        self.shared = shared
        self._size = size
        self._whole_of = whole_of
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._parts: dict[Hashable, set[K]] = {}
        self._loading: list[set[K]] = []  # what each batch under way may keep when it comes
        self._batcher: Batcher[K, V | None] = Batcher(self._work, lanes=1)

    def peek(self, key: K) -> V | None:
        """The value if it is here."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

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
        keys = tuple(keys)
        if self.shared is not None:
            self.shared.forget(keys, self.hearing)
        for key in keys:
            self._drop(key)
            for batch in self._loading:
                batch.discard(key)

    def forget_parts(self, wholes: Iterable[Hashable]) -> None:
        """Whatever is part of these has changed; what is being loaded may be."""
        wholes = tuple(wholes)
        if self.shared is not None:
            self.shared.forget(wholes, self.hearing)
        for whole in wholes:
            for key in tuple(self._parts.get(whole, ())):
                self._drop(key)
        self._keep_none_of_those_under_way()

    def clear(self) -> None:
        """Anything may have changed."""
        if self.shared is not None:
            self.shared.forget_all(self.hearing)
        self._kept.clear()
        self._parts.clear()
        self._keep_none_of_those_under_way()

    async def _work(self, asked: tuple[Asked[K], ...]) -> Answers[V | None]:
        # Whoever asked while another batch was loading the same finds it here.
        kept = {one.request: value for one in asked if (value := self.peek(one.request)) is not None}
        keys = list(dict.fromkeys(one.request for one in asked if one.request not in kept))
        found = {**kept, **await self._load_missing(keys)} if keys else kept
        return tuple(found.get(one.request) for one in asked)

    async def _load_missing(self, keys: list[K]) -> Mapping[K, V]:
        unchanged = set(keys)
        self._loading.append(unchanged)
        try:
            found = await (self._load(keys) if self.shared is None else self.shared.load(self._load, self._find_whole, keys))
        finally:
            self._loading = [batch for batch in self._loading if batch is not unchanged]
        if self.hears:
            for key in keys:
                if key in unchanged and key in found:
                    self._keep(key, found[key])
        while len(self._kept) > self._size:
            self._drop(next(iter(self._kept)))
        return found

    def _find_whole(self, key: K, value: V) -> Hashable:
        return key if self._whole_of is None else self._whole_of(value)

    def _keep_none_of_those_under_way(self) -> None:
        for batch in self._loading:
            batch.clear()

    def _keep(self, key: K, value: V) -> None:
        self._drop(key)
        self._kept[key] = value
        if self._whole_of is not None:
            self._parts.setdefault(self._whole_of(value), set()).add(key)

    def _drop(self, key: K) -> None:
        value = self._kept.pop(key, None)
        if value is None or self._whole_of is None:
            return
        whole = self._whole_of(value)
        self._parts[whole].discard(key)
        if not self._parts[whole]:
            del self._parts[whole]
