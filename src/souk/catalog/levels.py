"""What can be sold of each SKU, kept in memory and changed in place by what inventory tells."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from math import inf
from time import monotonic
from uuid import UUID

import msgspec

from souk.catalog.database import db
from souk.inventory.events import StockChanged
from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import SYSTEM, Caller, caller, set_caller
from souk.kit.db import NOT_NOW
from souk.kit.errors import Unavailable
from souk.kit.events import source_of
from souk.kit.memory import Once, Told
from souk.kit.outbox import START, find_horizon, read_outbox

READ_LEVELS = "SELECT sku, store_id, seller_id, available, version FROM catalog.stock_level WHERE sku = ANY($1)"
FIND_POSITION = "SELECT xid, id FROM catalog.consumer_position WHERE consumer = 'catalog.show_stock' AND source = $1"

SOURCE = source_of(StockChanged)
# The stock on a page is at most a second old: half of it here, and what inventory's news takes to come to the table.
IN_DOUBT_S = 0.5


# Tens of thousands are kept, most SKUs in one store: a tuple of these takes a third of a dict by store, and nothing of the
# garbage collector's time.
class _Level(msgspec.Struct, frozen=True, gc=False):
    store_id: UUID
    seller_id: UUID
    available: int
    version: int


class _Row(msgspec.Struct, frozen=True):
    sku: str
    store_id: UUID
    seller_id: UUID
    available: int
    version: int


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """The levels of a SKU, one of each store, and until when they are good."""

    levels: tuple[_Level, ...]
    until: float


class _Place(msgspec.Struct, frozen=True):
    xid: int
    id: int


class Levels(Told):
    """The levels of up to `size` SKUs, those used last. What is not there is read from the table, many at once.

    The table hears a little later than we do. So what was heard is kept as well, of up to `size` SKUs, and goes over what is read:
    of two levels the higher version is newer. As long as it is not certain that what the table lacks was heard by us, when we have
    just begun to hear or had to forget what we heard, levels are kept for half a second only.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._heard: dict[str, tuple[_Level, ...]] = {}
        self._once: Once[UUID] = Once(size)  # stores and sellers
        self._proof: object | None = None  # another one each time, so that who was reading meanwhile notices
        self._looking: asyncio.Task[None] | None = None
        self._batcher: Batcher[tuple[str, ...], dict[str, _Kept]] = Batcher(self._read, lanes=1)

    async def find_available(self, seller_id: UUID, skus: Sequence[str]) -> dict[str, int]:
        """How many pieces of each SKU this seller's stores can sell."""
        found = {sku: kept for sku in skus if (kept := self.peek(sku)) is not None}
        if len(found) < len(skus):
            found |= await self._batcher.ask(tuple(sku for sku in skus if sku not in found), caller())
        return {sku: sum([one.available for one in kept.levels if one.seller_id == seller_id]) for sku, kept in found.items()}

    def peek(self, sku: str) -> _Kept | None:
        """The levels of a SKU if they are here."""
        kept = self._kept.get(sku)
        if kept is None or kept.until < monotonic():
            return None
        self._kept.move_to_end(sku)
        return kept

    def hear(self, changes: Iterable[StockChanged]) -> None:
        """These levels are new, or have been heard before."""
        if not self.hears:
            return
        for change in changes:
            for one in change.levels:
                level = self._level(change.store_id, change.seller_id, one.available, one.version)
                if (kept := self._kept.get(one.sku)) is not None:
                    self._kept[one.sku] = _Kept(newest(kept.levels, level), kept.until)
                self._heard[one.sku] = newest(self._heard.get(one.sku, ()), level)
        if len(self._heard) > self._size:
            self._heard.clear()
            self._doubt()

    def clear(self) -> None:
        """Anything may have changed."""
        self._kept.clear()
        self._heard.clear()
        self._doubt()

    def _level(self, store_id: UUID, seller_id: UUID, available: int, version: int) -> _Level:
        return _Level(self._once(store_id), self._once(seller_id), available, version)

    def _doubt(self) -> None:
        self._proof = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _read(self, asked: tuple[Asked[tuple[str, ...]], ...]) -> Answers[dict[str, _Kept]]:
        proof = self._proof
        if proof is None and self.hears and (self._looking is None or self._looking.done()):
            # Pages do not wait for it: it asks inventory, too.
            self._looking = asyncio.get_running_loop().create_task(self._look(), context=Context())
        skus = sorted({sku for one in asked for sku in one.request})
        rows = await db.all(_Row, READ_LEVELS, skus)
        # Only now: what is told while we wait counts as well.
        found = {sku: self._heard.get(sku, ()) for sku in skus}
        for row in rows:
            found[row.sku] = newest(found[row.sku], self._level(row.store_id, row.seller_id, row.available, row.version))
        until = inf if proof is not None and proof is self._proof else monotonic() + IN_DOUBT_S
        read = {sku: _Kept(levels, until) for sku, levels in found.items()}
        self._kept.update(read)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return tuple({sku: read[sku] for sku in one.request} for one in asked)

    async def _look(self) -> None:
        """Find out when the table has all that inventory told before now; what it tells from now on is heard."""
        set_caller(Caller(SYSTEM, request_id="memory:catalog.levels"))
        with suppress(Unavailable, *NOT_NOW):
            now = await find_horizon(SOURCE)
            while True:
                place = await db.maybe(_Place, FIND_POSITION, SOURCE)
                missing = await read_outbox(SOURCE, (place.xid, place.id) if place else START, 1, 0.0)
                if not missing or missing[0].position > now:
                    break
                await asyncio.sleep(IN_DOUBT_S)
            self._proof = object()


def newest(levels: tuple[_Level, ...], level: _Level) -> tuple[_Level, ...]:
    """The levels with this one, unless that of its store is as new."""
    known = next((one for one in levels if one.store_id == level.store_id), None)
    if known is None:
        return (*levels, level)
    return levels if known.version >= level.version else tuple([level if one is known else one for one in levels])
