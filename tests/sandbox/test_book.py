"""The book keeps what was answered, whatever becomes of the process, and lets nothing be changed."""

import asyncio
import contextlib
import signal
import sqlite3

import aiohttp
import pytest

from souk.sandbox.book import SCHEMA, Subject, append_operation, mark_birth
from souk.sandbox.writer import connect


async def test_pages(merchant):
    for _ in range(3):
        await merchant.charge("tok_ok")
    seqs, after = [], 0
    while after is not None:
        page = (await merchant.get(f"/v1/book?after={after}&limit=4")).body
        seqs += [item["seq"] for item in page["items"]]
        after = page["next"]
    assert len(seqs) >= 6
    assert seqs == sorted(set(seqs))
    assert (await merchant.get(f"/v1/book?after={seqs[-1]}")).body == {"items": [], "next": None}
    assert (await merchant.get("/v1/book?after=-1")).status == 422


async def test_a_line_names_the_payment_and_the_step(merchant):
    charge_id = (await merchant.charge("tok_ok", reference="order-line")).body["id"]
    await merchant.post(f"/v1/charges/{charge_id}/refunds", {"amount": 7, "reference": "return-line"})
    lines = [line for line in (await merchant.get("/v1/book?limit=1000")).body["items"] if line["payment_id"] == charge_id]
    assert [(line["payment_reference"], line["reference"]) for line in lines] == [
        ("order-line", "order-line"),
        ("order-line", "order-line"),
        ("order-line", "return-line"),
    ]


async def test_what_was_answered_survives_kill_9(start_sandbox, visit):
    sandbox = start_sandbox()
    merchant = visit(sandbox)
    answered = {}

    async def buy_until_it_dies(buyer):
        with contextlib.suppress(aiohttp.ClientError):
            for number in range(10_000):
                key = f"buy-{buyer}-{number}"
                answered[key] = (await merchant.charge("tok_ok", key, reference=key)).body

    buying = [asyncio.create_task(buy_until_it_dies(buyer)) for buyer in range(8)]
    await asyncio.sleep(0.3)
    sandbox.end(signal.SIGKILL)
    await asyncio.gather(*buying)
    assert len(answered) > 20
    sandbox.start()
    replayed = await asyncio.gather(*(merchant.charge("tok_ok", key, reference=key) for key in answered))
    assert [told.body for told in replayed] == list(answered.values())
    book, after = {}, 0
    while after is not None:
        page = (await merchant.get(f"/v1/book?after={after}&limit=1000")).body
        for item in page["items"]:
            book.setdefault(item["payment_id"], []).append(item["kind"])
        after = page["next"]
    assert all(book[charge["id"]] == ["authorize", "capture"] for charge in answered.values())
    # Besides them at most the one call of each buyer that was under way: charged or not, but never by half.
    assert set(map(tuple, book.values())) == {("authorize", "capture")}
    assert len(book) - len(answered) <= 8


@pytest.fixture
def book(tmp_path):
    db = connect(tmp_path / "book.db", SCHEMA)
    mark_birth(db, "1")
    yield db
    db.close()


def test_nothing_is_taken_out_or_changed(book):
    append_operation(book, "capture", Subject("ch_1", "order", "USD"), 100)
    for statement in ("UPDATE operations SET amount = 1", "DELETE FROM operations"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            book.execute(statement)


def test_the_file_itself_refuses_a_refund_above_the_capture(book):
    subject = Subject("ch_1", "order", "USD")
    append_operation(book, "capture", subject, 100)
    append_operation(book, "refund", subject, 60)
    with pytest.raises(sqlite3.IntegrityError, match="refunded above captured"):
        append_operation(book, "refund", subject, 41)
    append_operation(book, "refund", subject, 40)


def test_it_is_written_through_to_the_disk(book):
    settings = [book.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]
