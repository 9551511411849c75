"""A context for the tests of the kit: it keeps notes. It is called `kit`, for the second part of a module's name is its context."""

import asyncio
import os
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.batching import Asked
from souk.kit.callers import Principal, caller
from souk.kit.calls import exposed
from souk.kit.db import Database, Transaction, columns
from souk.kit.errors import Conflict, DomainError, Unavailable
from souk.kit.events import Delivered, Event, publish, subscribes
from souk.kit.idempotency import once
from souk.kit.money import Money

TABLES = """
    CREATE TABLE kit.note (
        id         uuid        PRIMARY KEY,
        number     integer     NOT NULL CHECK (number >= 0),
        text       text        NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now()
    );
    -- No key on purpose: an event that is applied twice is here twice.
    CREATE TABLE kit.heard (
        place    bigserial PRIMARY KEY,
        consumer text      NOT NULL,
        event_id uuid      NOT NULL,
        note_id  uuid      NOT NULL,
        number   integer   NOT NULL,
        pid      integer   NOT NULL,
        heard_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TABLE kit.poison (number integer PRIMARY KEY);
"""
WRITE = "INSERT INTO kit.note (id, number, text) SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[])"
HEAR = """
    INSERT INTO kit.heard (consumer, event_id, note_id, number, pid)
    SELECT $1, u.*, $2 FROM unnest($3::uuid[], $4::uuid[], $5::int[]) AS u
"""
FIND_POISON = "SELECT number FROM kit.poison WHERE number = ANY($1)"

db = Database("kit")


class Note(msgspec.Struct, frozen=True):
    id: UUID
    number: int
    text: str = ""


class Reason(msgspec.Struct, frozen=True):
    word: str
    weight: int


class NoteRefused(Conflict, code="kit.note_refused"):
    """Note {note_id} is refused, and so is all above {limit}."""

    note_id: UUID
    reasons: tuple[Reason, ...]
    limit: Money
    until: datetime | None


class Everything(msgspec.Struct, frozen=True):
    """One of each kind of value that may cross a front door."""

    id: UUID
    text: str
    number: int
    price: Money
    at: datetime
    state: Literal["new", "old"]
    reasons: tuple[Reason, ...]
    attributes: dict[str, object]
    maybe: int | None = None


class CallerSeen(msgspec.Struct, frozen=True):
    principal: Principal
    request_id: str
    idempotency_key: str | None
    guest_token: str | None
    seconds_left: float
    pid: int


class Counted(msgspec.Struct, frozen=True):
    note_id: UUID
    together: int
    user_id: UUID | None


class Noted(Event, frozen=True):
    note_id: UUID
    number: int


class Scratched(Event, frozen=True):
    note_id: UUID


@exposed()
async def echo(value: Everything, twice: bool = False) -> tuple[Everything, ...]:
    return (value, value) if twice else (value,)


@exposed()
async def forget() -> None:
    return None


@exposed()
async def describe_caller() -> CallerSeen:
    who = caller()
    return CallerSeen(who.principal, who.request_id, who.idempotency_key, who.guest_token, who.seconds_left(), os.getpid())


@exposed()
async def describe_inner_caller() -> CallerSeen:
    return await describe_caller()


@exposed()
async def refuse_note(note_id: UUID, until: datetime | None) -> None:
    raise NoteRefused(note_id, (Reason("late", 2), Reason("long", 1)), Money(1250, "EUR"), until)


@exposed()
async def break_down() -> None:
    raise ZeroDivisionError("a bug")


@exposed()
async def be_silent() -> None:
    raise Unavailable("the card processor does not answer")


@exposed(timeout=0.3)
async def dawdle(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@exposed()
async def call_in_transaction() -> None:
    async with db.transaction():
        await forget()


@exposed.batched(timeout=2.0)
async def count_note(asked: tuple[Asked[Note], ...]) -> tuple[Counted | DomainError, ...]:
    """How many were asked together; a note of number 13 is refused."""
    return tuple(
        NoteRefused(one.request.id, (), Money(0, "EUR"), None)
        if one.request.number == 13
        else Counted(one.request.id, len(asked), one.caller.principal.user_id)
        for one in asked
    )


@exposed()
async def write_note(note: Note) -> Note:
    """Once per key; number 13 is refused, 500 is a bug after the row was written, 600 takes its time."""

    async def work(tx: Transaction) -> Note:
        await write(tx, note)
        if note.number == 13:
            raise NoteRefused(note.id, (), Money(0, "EUR"), None)
        if note.number == 500:
            raise ZeroDivisionError
        if note.number == 600:
            await asyncio.sleep(0.3)
        return note

    return await once(db, note, work)


@exposed()
async def scratch_note(note_id: UUID) -> None:
    """Once per key, with nothing to answer."""

    async def work(tx: Transaction) -> None:
        await publish(tx, Scratched(note_id))

    await once(db, note_id, work)


async def write(tx: Transaction, *notes: Note) -> None:
    await tx.run(WRITE, *columns(notes, "id", "number", "text"))
    await publish(tx, *(Noted(note.id, note.number) for note in notes))


@subscribes(Noted, Scratched)
async def hear_notes(tx: Transaction, news: tuple[Delivered[Noted | Scratched], ...]) -> None:
    """Write down what was heard; a number that lies in the table of poison cannot be applied."""
    numbers = [one.event.number if isinstance(one.event, Noted) else -1 for one in news]
    await tx.run(HEAR, "hear_notes", os.getpid(), [one.event_id for one in news], [one.event.note_id for one in news], numbers)
    if (poison := await tx.value(FIND_POISON, numbers)) is not None:
        raise ValueError(f"number {poison} is poison")


@subscribes(Noted, kind="call")
async def pass_notes_on(news: tuple[Delivered[Noted], ...]) -> None:
    """Tell a neighbour of them, with the event's id as key: here the neighbour is a table."""
    numbers = [one.event.number for one in news]
    if (poison := await db.value(FIND_POISON, numbers)) is not None:
        raise ValueError(f"number {poison} is poison")
    async with db.transaction() as tx:
        await tx.run(HEAR, "pass_notes_on", os.getpid(), [one.event_id for one in news], [one.event.note_id for one in news], numbers)


@subscribes(Noted)
async def dawdle_over_notes(tx: Transaction, news: tuple[Delivered[Noted], ...]) -> None:
    """Write down what was heard, and wait for as long as one of the numbers lies in the table of poison."""
    numbers = [one.event.number for one in news]
    while await tx.value(FIND_POISON, numbers) is not None:  # noqa: ASYNC110  nobody tells us
        await asyncio.sleep(0.01)
    await tx.run(HEAR, "dawdle_over_notes", os.getpid(), [one.event_id for one in news], [one.event.note_id for one in news], numbers)
