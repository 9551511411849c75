"""Work that shares a commit succeeds or fails on its own, and nobody hears of an effect before it is kept."""

import asyncio
import sqlite3

import pytest

from souk.sandbox.writer import Writer

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL UNIQUE) STRICT;"


@pytest.fixture
async def writer(tmp_path):
    writer = Writer(tmp_path / "notes.db", SCHEMA)
    await writer.open()
    yield writer
    await writer.close()


def note(text, then=None):
    def work(db):
        db.execute("INSERT INTO notes VALUES (?)", (text,))
        if then is not None:
            raise then
        return text

    return work


async def test_one_that_fails_leaves_alone(writer, tmp_path):
    asked = [note("a"), note("b", KeyError("b")), note("a"), note("c")]
    told = await asyncio.gather(*(writer.write(work) for work in asked), return_exceptions=True)
    assert told[0] == "a"
    assert isinstance(told[1], KeyError)
    assert isinstance(told[2], sqlite3.IntegrityError)
    assert told[3] == "c"
    kept = sqlite3.connect(tmp_path / "notes.db")
    assert sorted(kept.execute("SELECT text FROM notes")) == [("a",), ("c",)]
    kept.close()


async def test_a_caller_who_left_does_not_stop_the_others(writer):
    leaving = asyncio.create_task(writer.write(note("a")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await writer.write(note("b")) == "b"


async def test_a_full_batch_keeps_its_order(writer):
    told = await asyncio.gather(*(writer.write(note(str(number))) for number in range(1200)))
    assert told == [str(number) for number in range(1200)]


async def test_a_home_that_cannot_be_written_is_told_at_once(tmp_path):
    writer = Writer(tmp_path / "nowhere" / "notes.db", SCHEMA)
    with pytest.raises(sqlite3.OperationalError):
        await writer.open()
    await writer.close()
