"""One call of a merchant: done once per idempotency key, and answered as badly as the outside world answers."""

import hashlib
import sqlite3
from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import Struct

from souk.sandbox.behaviours import Behaviour, Moods, Operated
from souk.sandbox.book import iso_now
from souk.sandbox.refusals import Refused
from souk.sandbox.types import Done
from souk.sandbox.world import World

SCHEMA = """
    CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        status INTEGER NOT NULL,
        body BLOB NOT NULL,
        created_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS lost_calls (key TEXT PRIMARY KEY) STRICT;
"""
FIND_ANSWER = "SELECT fingerprint, status, body FROM answers WHERE key = ?"
KEEP_ANSWER = "INSERT INTO answers VALUES (?, ?, ?, ?, ?)"
LOSE = "INSERT INTO lost_calls VALUES (?) ON CONFLICT DO NOTHING"

Work = Callable[[sqlite3.Connection, Behaviour], Done]


class Call(Struct, frozen=True):
    operated: Operated
    key: str | None
    fingerprint: str
    habit: Behaviour = Behaviour.OK  # what the token asks for; a mood of the moment goes before it


class Answer(Struct, frozen=True):
    status: int
    body: bytes
    replayed: bool = False
    lost: bool = False
    habit: Behaviour = Behaviour.OK
    deliveries: tuple[int, ...] = ()
    webhooks_first: bool = False


class StoredAnswer(Struct, frozen=True):
    fingerprint: str
    status: int
    body: bytes


def fingerprint(method: str, path: str, asked: Struct) -> str:
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), msgspec.json.encode(asked)))).hexdigest()


async def answer_call(world: World, call: Call, work: Work) -> Answer:
    """Do the work and tell of it.

    The effect, its webhooks and the true answer commit together before anything is told. A 500 or a silence comes only afterwards and
    is stored nowhere, so the same key learns the truth when it asks again.
    """
    answer = await world.writer.write(partial(decide, call=call, moods=world.moods, work=work))
    if answer.lost:
        await world.pause(world.settings.timeout_s)
        raise Refused(504, "timeout", "The call was lost on the way; nothing was done")
    if answer.replayed:
        return answer
    world.wake()
    if answer.habit is Behaviour.CHARGED_500:
        raise Refused(500, "internal_error", "Something went wrong on our side")
    if answer.habit is Behaviour.TIMEOUT_CHARGED:
        await world.pause(world.settings.timeout_s)
    if answer.webhooks_first:
        await world.wait_until_tried(answer.deliveries)
    return answer


def decide(db: sqlite3.Connection, call: Call, moods: Moods, work: Work) -> Answer:
    stored = find_answer(db, call)
    if stored is not None:
        return stored
    imposed = moods.take(call.operated)
    habit = imposed or call.habit
    if habit is Behaviour.TIMEOUT_NOT_CHARGED and (imposed or lose_once(db, call.key)):
        return Answer(504, b"", lost=True)
    # The second try of a call that was lost is an ordinary one.
    answer = attempt(db, Behaviour.OK if habit is Behaviour.TIMEOUT_NOT_CHARGED else habit, work)
    if call.key is not None:
        db.execute(KEEP_ANSWER, (call.key, call.fingerprint, answer.status, answer.body, iso_now()))
    return answer


def attempt(db: sqlite3.Connection, habit: Behaviour, work: Work) -> Answer:
    """Do the work; a refusal undoes it and is an answer like any other, kept under the key."""
    db.execute("SAVEPOINT work")
    try:
        done = work(db, habit)
    except Refused as refused:
        db.execute("ROLLBACK TO work")
        db.execute("RELEASE work")
        return Answer(refused.status, refused.body(), habit=habit)
    db.execute("RELEASE work")
    first = done.webhooks_first or habit is Behaviour.WEBHOOK_BEFORE_RESPONSE
    body = msgspec.json.encode(done.body)
    return Answer(done.status, body, habit=habit, deliveries=done.deliveries, webhooks_first=first)


def find_answer(db: sqlite3.Connection, call: Call) -> Answer | None:
    found = db.execute(FIND_ANSWER, (call.key,)).fetchone()
    if found is None:
        return None
    stored = msgspec.convert(dict(found), StoredAnswer)
    if stored.fingerprint != call.fingerprint:
        raise Refused(422, "idempotency_key_reused", "This key was used for another call")
    return Answer(stored.status, stored.body, replayed=True)


def lose_once(db: sqlite3.Connection, key: str | None) -> bool:
    """A network loses the first try of a call, seldom the second; without a key every try is a first one."""
    return key is None or db.execute(LOSE, (key,)).rowcount == 1
