"""The same key is the same request: one effect, one answer, whoever repeats it and whatever dies in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import asyncpg
import msgspec
import pytest
from tests.caches import CacheServer
from tests.kit import notebook
from tests.kit.conftest import SECRET, Process
from tests.kit.notebook import Note, NoteRefused
from tests.ports import find_free_port
from tests.waiting import until

from souk.kit.callers import Caller, Principal, asking
from souk.kit.calls import topology
from souk.kit.errors import InvalidField, Unavailable
from souk.kit.idempotency import IdempotencyKeyReused, forget_old_keys
from souk.kit.ids import new_id
from souk.kit.wire import HttpPeer

BUYER = Principal("user", new_id(), ("buyer",))


@contextmanager
def with_key(key: str = "my-key", principal: Principal = BUYER, guest_token: str | None = None) -> Iterator[None]:
    with asking(Caller(principal, "request", key, guest_token)):
        yield


async def count_notes() -> int:
    return int(await notebook.db.value("SELECT count(*) FROM kit.note"))


async def count_facts() -> int:
    return int(await notebook.db.value("SELECT count(*) FROM kit.outbox"))


def renumbered(note: Note) -> Note:
    """The same request under a new id: without its key it would be another note."""
    return msgspec.structs.replace(note, id=new_id())


async def test_without_a_key_every_request_is_new(here: str) -> None:
    note = Note(new_id(), 1)
    await notebook.write_note(note)
    await notebook.write_note(renumbered(note))
    assert await count_notes() == 2


async def test_a_repeated_request_gets_the_first_answer_and_has_one_effect(here: str) -> None:
    note = Note(new_id(), 1, "text")
    with with_key():
        answers = [await notebook.write_note(note) for _ in range(3)]
    assert answers == [note] * 3
    assert (await count_notes(), await count_facts()) == (1, 1)


async def test_a_function_without_an_answer_is_repeated_like_any_other(here: str) -> None:
    note_id = new_id()
    with with_key():
        for _ in range(2):
            await notebook.scratch_note(note_id)
    assert await count_facts() == 1


async def test_another_request_under_the_same_key_is_refused(here: str) -> None:
    note = Note(new_id(), 1)
    with with_key():
        await notebook.write_note(note)
        with pytest.raises(IdempotencyKeyReused) as refused:
            await notebook.write_note(renumbered(note))
        with pytest.raises(IdempotencyKeyReused):
            await notebook.scratch_note(note.id)
    assert (refused.value.status, await count_notes()) == (422, 1)


async def test_a_key_is_its_owners(here: str) -> None:
    with with_key():
        await notebook.write_note(Note(new_id(), 1))
    with with_key(principal=Principal("user", new_id())):
        await notebook.write_note(Note(new_id(), 2))
    for token in ("token-of-one-guest", "token-of-another"):
        with with_key(principal=Principal(), guest_token=token):
            await notebook.write_note(Note(new_id(), 3))
    assert await count_notes() == 4


async def test_strangers_share_a_name_so_that_their_keys_must_be_hard_to_hit_upon(here: str) -> None:
    note = Note(new_id(), 1)
    with with_key("short", Principal()), pytest.raises(InvalidField, match="at least 16"):
        await notebook.write_note(note)
    for _ in range(2):
        with with_key(str(new_id()), Principal()):
            await notebook.write_note(renumbered(note))
    assert await count_notes() == 2


async def test_twins_at_the_same_moment_have_one_effect(here: str) -> None:
    note = Note(new_id(), 600)
    with with_key():
        answers = await asyncio.gather(*(notebook.write_note(note) for _ in range(8)))
    assert answers == [note] * 8
    assert (await count_notes(), await count_facts()) == (1, 1)


async def test_a_refusal_is_replayed_and_leaves_nothing_behind(here: str) -> None:
    note = Note(new_id(), 13)
    for _ in range(2):
        with with_key(), pytest.raises(NoteRefused) as refused:
            await notebook.write_note(note)
        assert refused.value.note_id == note.id
    assert (await count_notes(), await count_facts()) == (0, 0)
    with with_key("another"):
        await notebook.write_note(msgspec.structs.replace(note, number=14))
    assert await count_notes() == 1


async def test_a_bug_is_no_answer_and_the_key_stays_free(here: str) -> None:
    note = Note(new_id(), 500)
    for _ in range(2):
        with with_key(), pytest.raises(ZeroDivisionError):
            await notebook.write_note(note)
    assert (await count_notes(), await count_facts()) == (0, 0)
    assert await notebook.db.value("SELECT count(*) FROM kit.idempotency_key") == 0


async def test_after_a_crash_in_the_middle_the_same_key_goes_on(here: str, start_process: Callable[..., Process]) -> None:
    note, port = Note(new_id(), 600), find_free_port()
    process = start_process("answer", here, str(port), SECRET)
    async with aiohttp.ClientSession() as session:
        topology.hosted, topology.peers = set(), {"kit": HttpPeer("kit", f"http://127.0.0.1:{port}", SECRET, session)}
        with with_key():
            under_way = asyncio.create_task(notebook.write_note(note))
        await asyncio.sleep(0.15)
        process.kill()
        with pytest.raises(Unavailable):
            await under_way
        topology.hosted, topology.peers = {"kit"}, {}
    assert await count_notes() == 0
    with with_key():
        assert await notebook.write_note(note) == note
        assert await notebook.write_note(note) == note
    assert (await count_notes(), await count_facts()) == (1, 1)


async def test_keys_are_kept_for_three_days(here: str) -> None:
    note = Note(new_id(), 1)
    for key, age in (("old", "73 hours"), ("young", "71 hours")):
        with with_key(key):
            await notebook.write_note(renumbered(note))
        async with notebook.db.transaction() as tx:
            await tx.run("UPDATE kit.idempotency_key SET created_at = now() - $2::text::interval WHERE key = $1", key, age)
    assert await forget_old_keys(notebook.db) == 1
    assert await notebook.db.value("SELECT array_agg(key) FROM kit.idempotency_key") == ["young"]


@asynccontextmanager
async def nobody_claims() -> AsyncIterator[None]:
    """Keys can be looked up meanwhile, and nobody can write one."""
    connection = await notebook.db.pool.acquire()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE kit.idempotency_key IN EXCLUSIVE MODE")
            yield
    finally:
        await notebook.db.pool.release(connection)


async def until_hinted(server: CacheServer) -> None:
    async def is_hinted() -> bool:
        return bool(server.keys("souk:answered:*"))

    await until(is_hinted)


async def test_who_is_known_to_have_an_answer_does_not_try_to_be_the_first(here: str, valkey: CacheServer) -> None:
    note = Note(new_id(), 1)
    with with_key():
        await notebook.write_note(note)
        await until_hinted(valkey)
        async with nobody_claims():
            assert await notebook.write_note(note) == note
            with pytest.raises(IdempotencyKeyReused):
                await notebook.write_note(renumbered(note))
            with pytest.raises(IdempotencyKeyReused):
                await notebook.scratch_note(note.id)
    with with_key(principal=Principal("user", new_id(), ("buyer",))):
        assert (await notebook.write_note(other := Note(new_id(), 2))) == other
    assert await count_notes() == 2


async def test_a_cache_that_is_wrong_about_an_answer_changes_nothing(here: str, valkey: CacheServer) -> None:
    note = Note(new_id(), 1)
    with with_key():
        await notebook.write_note(note)
        await until_hinted(valkey)
        (hint,) = valkey.keys("souk:answered:*")
        await notebook.db.pool.execute("DELETE FROM kit.idempotency_key")
        assert (await notebook.write_note(again := renumbered(note))) == again
        for spoil in (lambda: valkey.client().flushall(), lambda: valkey.client().set(hint, b"junk"), valkey.kill):
            spoil()
            assert await notebook.write_note(again) == again
    assert (await count_notes(), await count_facts()) == (2, 2)
    assert b"my-key" not in hint


async def test_what_failed_leaves_no_hint(here: str, valkey: CacheServer) -> None:
    with with_key(), pytest.raises(asyncpg.CheckViolationError):
        await notebook.write_note(Note(new_id(), -1))
    assert valkey.keys("souk:answered:*") == []


async def test_more_old_keys_than_go_at_once_go_one_after_the_other(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.idempotency.FORGOTTEN_AT_ONCE", 10)
    async with notebook.db.transaction() as tx:
        await tx.run("""
            INSERT INTO kit.idempotency_key (subject, key, function, fingerprint, created_at)
            SELECT 'user', 'key ' || n, 'kit/forget', '', now() - interval '1 year' FROM generate_series(1, 25) AS n
        """)
    assert await forget_old_keys(notebook.db) == 25
