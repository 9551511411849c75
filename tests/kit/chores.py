"""Jobs for the tests of the queue: each writes down, in a table of its own, that it ran."""

import asyncio
import os
import signal

import msgspec
from tests.kit.notebook import db

from souk.kit.callers import caller
from souk.kit.db import Transaction
from souk.kit.queue import job
from souk.kit.schedules import Tick, scheduled

TABLES = """
    -- No key on purpose: what has its effect twice is here twice.
    CREATE TABLE kit.chore (place bigserial PRIMARY KEY, name text NOT NULL, word text NOT NULL, pid integer NOT NULL);
"""
WRITE = "INSERT INTO kit.chore (name, word, pid) VALUES ($1, $2, $3)"


class Chore(msgspec.Struct, frozen=True):
    """What is to be done."""

    word: str


async def note(name: str, word: str) -> None:
    async with db.transaction() as tx:
        await tx.run(WRITE, name, word, os.getpid())


@job()
async def say_word(chore: Chore) -> None:
    """Say it."""
    await note("say", chore.word)


@job(at_once=1)
async def say_alone(chore: Chore) -> None:
    """Say it with nobody else at it."""
    await note("alone", f"{chore.word} {caller().request_id}")


@job(tries=3, back_off_s=0.1)
async def refuse_word(chore: Chore) -> None:
    """Never works."""
    await note("refuse", chore.word)
    raise ValueError(f"{chore.word} is no word")


@job(tries=2)
async def refuse_slowly(chore: Chore) -> None:
    """Does not work, after a while."""
    await note("refuse slowly", chore.word)
    await asyncio.sleep(1.0)
    await note("refused slowly", chore.word)
    raise ValueError(chore.word)


@job(tries=2, back_off_s=0.1)
async def cancel_itself(chore: Chore) -> None:
    """Is cancelled by something within, the first time."""
    await note("cancel", chore.word)
    if await db.value("SELECT count(*) FROM kit.chore WHERE name = 'cancel' AND word = $1", chore.word) == 1:
        raise asyncio.CancelledError


@job(tries=1, timeout_s=0.2)
async def take_long(chore: Chore) -> None:
    """Takes longer than it may."""
    await asyncio.sleep(60)


@job()
async def wait_long(chore: Chore) -> None:
    """Takes long, and may."""
    await note("wait", chore.word)
    await asyncio.sleep(8.0)
    await note("waited", chore.word)


@job(tries=3)
async def die_of_it(chore: Chore) -> None:
    """Kills its process."""
    await note("die", chore.word)
    os.kill(os.getpid(), signal.SIGKILL)


@job()
async def write_once(tx: Transaction, chore: Chore) -> None:
    """Has its effect with its transaction; the first time it takes long enough to be killed."""
    await note_try(chore.word)
    await tx.run(WRITE, "once", chore.word, os.getpid())
    if await tx.value("SELECT count(*) FROM kit.chore WHERE name = 'try' AND word = $1", chore.word) == 1:
        await asyncio.sleep(3.0)


@job()
async def write_quickly(tx: Transaction, chore: Chore) -> None:
    """Has its effect with its transaction, in no time."""
    await tx.run(WRITE, "quick", chore.word, os.getpid())


async def note_try(word: str) -> None:
    """Outside of the transaction, so that it stays whatever becomes of that."""
    async with db.pool.acquire() as connection:
        await connection.execute(WRITE, "try", word, os.getpid())


@scheduled("* * * * * *", missed="all")
@job()
async def tick_away(tx: Transaction, tick: Tick) -> None:
    """Writes down each second."""
    await tx.run(WRITE, "tick", tick.at.isoformat(), os.getpid())
