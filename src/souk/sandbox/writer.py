"""The one thread that owns the SQLite file: calls that wait together share a commit, so durability costs one fsync for all of them."""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")
Settle = Callable[[], object]
MOST_AT_ONCE = 500


class Order(Struct):
    attempt: Callable[[sqlite3.Connection], Settle]
    fail: Callable[[Exception], object]


class Writer:
    """Runs work in the order in which it was asked; a caller hears of its effect only after the commit that holds it."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="sandbox-writer", daemon=True)

    async def open(self) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._orders.put(order(lambda db: None, opened))
        self._thread.start()
        await opened

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run the work in a transaction: all of it is kept, or, when it raises, none of it."""
        answered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._orders.put(order(work, answered))
        return await answered

    async def close(self) -> None:
        self._orders.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        try:
            db = connect(self._path, self._schema)
        except sqlite3.Error as failure:
            self._refuse_all(failure)
            return
        while (batch := self._next_batch()) is not None:
            run_batch(db, batch)
        db.close()

    def _next_batch(self) -> list[Order] | None:
        first = self._orders.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < MOST_AT_ONCE:
            try:
                following = self._orders.get_nowait()
            except Empty:
                break
            if following is None:
                self._orders.put(None)
                break
            batch.append(following)
        return batch

    def _refuse_all(self, failure: Exception) -> None:
        while (asked := self._orders.get()) is not None:
            asked.fail(failure)


def connect(path: Path, schema: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA busy_timeout = 5000")
    db.executescript(schema)
    return db


def run_batch(db: sqlite3.Connection, batch: list[Order]) -> None:
    try:
        db.execute("BEGIN IMMEDIATE")
        settled = [asked.attempt(db) for asked in batch]
        db.execute("COMMIT")
    except sqlite3.Error as failure:
        if db.in_transaction:
            db.execute("ROLLBACK")
        for asked in batch:
            asked.fail(failure)
    else:
        for settle in settled:
            settle()


def order(work: Callable[[sqlite3.Connection], T], answered: asyncio.Future[T]) -> Order:
    loop = answered.get_loop()

    def give(result: T) -> None:
        if not answered.done():
            answered.set_result(result)

    def refuse(failure: Exception) -> None:
        if not answered.done():
            answered.set_exception(failure)

    def attempt(db: sqlite3.Connection) -> Settle:
        db.execute("SAVEPOINT one")
        try:
            result = work(db)
        except Exception as failure:  # whatever it is, it is the caller's to hear, and the others of the batch go on
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            return partial(loop.call_soon_threadsafe, refuse, failure)
        db.execute("RELEASE one")
        return partial(loop.call_soon_threadsafe, give, result)

    return Order(attempt, lambda failure: loop.call_soon_threadsafe(refuse, failure))
