"""Every fact is applied once, in the order of its aggregate, whoever dies; what cannot be applied is set aside and waits for a person."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY
from tests.kit import notebook
from tests.kit.conftest import Process
from tests.kit.notebook import Noted
from tests.kit.test_outbox import CUT_OFF, publish_notes
from tests.waiting import until

from souk.kit import deadletters
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.db import Transaction
from souk.kit.deadletters import DeadLetter
from souk.kit.delivery import Delivery, deliver_forever
from souk.kit.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from souk.kit.events import CONSUMERS, Consumer, Delivered, publish, subscribes
from souk.kit.feeds import Feed
from souk.kit.ids import new_id
from souk.kit.migrations import continue_after_restore

WRITE_FACT = "INSERT INTO kit.outbox (event_id, type, aggregate_id, payload, request_id) VALUES ($1, 'kit.Noted', $1, $2, '')"


class Heard(msgspec.Struct, frozen=True):
    event_id: UUID
    note_id: UUID
    number: int
    pid: int


async def heard(consumer: str = "hear_notes") -> tuple[Heard, ...]:
    return await notebook.db.all(Heard, "SELECT event_id, note_id, number, pid FROM kit.heard WHERE consumer = $1 ORDER BY place", consumer)


async def numbers_heard(consumer: str = "hear_notes") -> list[int]:
    return [one.number for one in await heard(consumer)]


async def until_heard(count: int, consumer: str = "hear_notes") -> None:
    async def enough() -> bool:
        return len(await heard(consumer)) >= count

    await until(enough)


async def parked() -> tuple[DeadLetter, ...]:
    with asking(Caller(SYSTEM)):
        return await deadletters.list_dead_letters("kit", 100)


async def until_parked(count: int) -> tuple[DeadLetter, ...]:
    async def enough() -> bool:
        return len(await parked()) >= count

    await until(enough)
    return await parked()


async def redrive(event_id: UUID) -> int:
    with asking(Caller(SYSTEM)):
        return await deadletters.redrive_dead_letter("kit", event_id)


async def run_sql(sql: str, *values: object) -> None:
    async with notebook.db.transaction() as tx:
        await tx.run(sql, *values)


@asynccontextmanager
async def delivering(consumer: str = "hear_notes", times: int = 1) -> AsyncIterator[None]:
    """Deliver here; `times` more than once is what must not happen and happens when a lock is lost without notice."""
    feed = Feed("kit")
    tasks = [asyncio.create_task(feed.follow_forever())]
    for _ in range(times):
        delivery = Delivery(CONSUMERS[f"kit.{consumer}"], "kit", notebook.db, feed)
        tasks.append(asyncio.create_task(deliver_forever(delivery)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_waiting_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.delivery.FIRST_PAUSE_S", 0.001)


async def test_a_new_consumer_hears_everything_from_the_beginning_in_order(here: str) -> None:
    await publish_notes(*range(700))
    await publish_notes(*range(700, 1400))
    async with delivering():
        await until_heard(1400)
        await publish_notes(1400)
        await until_heard(1401)
    assert await numbers_heard() == list(range(1401))


async def test_one_that_comes_back_goes_on_where_it_was(here: str) -> None:
    for round_ in range(4):
        async with delivering():
            await publish_notes(round_)
            await until_heard(round_ + 1)
    assert await numbers_heard() == [0, 1, 2, 3]


async def test_two_that_both_believe_to_be_the_one_apply_nothing_twice(here: str) -> None:
    async with delivering(times=2):
        for number in range(60):
            await publish_notes(number)
        await until_heard(60)
        await asyncio.sleep(0.3)
    assert await numbers_heard() == list(range(60))


async def test_killed_again_and_again_it_applies_each_fact_once(here: str, start_process: Callable[..., Process]) -> None:
    note_id = new_id()
    told = 0
    for _ in range(5):
        process = start_process("deliver", here, "hear_notes")
        for _ in range(40):
            await publish_notes(told, note_id=note_id)
            told += 1
        await until_heard(told - 20)
        process.kill()
    start_process("deliver", here, "hear_notes")
    await until_heard(told)
    assert await numbers_heard() == list(range(200))
    assert len({one.pid for one in await heard()}) > 1


async def test_of_two_processes_one_delivers_and_the_other_takes_over(here: str, start_process: Callable[..., Process]) -> None:
    processes = {process.pid: process for process in (start_process("deliver", here, "hear_notes") for _ in range(2))}
    for number in range(20):
        await publish_notes(number)
    await until_heard(20)
    (first,) = {one.pid for one in await heard()}
    processes[first].kill()
    for number in range(20, 40):
        await publish_notes(number)
    await until_heard(40)
    assert await numbers_heard() == list(range(40))
    (second,) = {one.pid for one in (await heard())[20:]}
    assert second != first and second in processes


@pytest.mark.parametrize("ahead", [1, 1_000_000, 2**40])
async def test_after_a_restore_on_a_younger_server_new_facts_come_after_the_old_ones(here: str, ahead: int) -> None:
    await publish_notes(0)
    async with delivering():
        await until_heard(1)
    await publish_notes(1)
    connection = await asyncpg.connect(here)
    await connection.execute("ALTER TABLE kit.outbox DISABLE TRIGGER append_only")
    for _ in range(2):
        await connection.execute("UPDATE kit.outbox SET xid = xid + $1", ahead)
        await connection.execute("UPDATE kit.consumer_position SET xid = xid + $1", ahead)
        await continue_after_restore(connection, "kit")
        await continue_after_restore(connection, "kit")
    await connection.close()
    await publish_notes(2)
    async with delivering():
        await until_heard(3)
    assert await numbers_heard() == [0, 1, 2]


async def test_a_delivery_goes_on_after_the_database_was_away(here: str) -> None:
    async with delivering():
        await publish_notes(0)
        await until_heard(1)
        admin = await asyncpg.connect(here)
        await admin.execute(CUT_OFF)
        await admin.execute(WRITE_FACT, new_id(), '{"note_id": "01890a5d-ac96-774b-bcce-b302099a8057", "number": 1}')
        await admin.close()
        await until(answers)
        await until_heard(2)
    assert await numbers_heard() == [0, 1]


async def answers() -> bool:
    """Whether the pool has noticed that its connections were cut."""
    try:
        return await notebook.db.value("SELECT true") is True
    except Unavailable:
        return False


async def test_a_poisoned_event_is_parked_those_behind_it_wait_and_others_go_on(here: str) -> None:
    await run_sql("INSERT INTO kit.poison VALUES (666)")
    bad, good = new_id(), new_id()
    async with notebook.db.transaction() as tx:
        await publish(tx, Noted(bad, 1), Noted(good, 2), Noted(bad, 666), Noted(good, 3), Noted(bad, 4), Noted(good, 5))
    async with delivering():
        letters = await until_parked(2)
        await publish_notes(6, note_id=bad)
        await publish_notes(7, note_id=good)
        letters = await until_parked(3)
        await until_heard(5)
    assert await numbers_heard() == [1, 2, 3, 5, 7]
    assert [letter.aggregate_id for letter in letters] == [bad] * 3
    assert letters[0].reason == "ValueError: number 666 is poison"
    assert {letter.reason for letter in letters[1:]} == {"waits behind an earlier event of the same aggregate"}
    assert {(letter.consumer, letter.source, letter.type) for letter in letters} == {("kit.hear_notes", "kit", "kit.Noted")}


async def test_a_poisoned_event_is_tried_five_times(here: str) -> None:
    tries: list[int] = []

    async def refuse(tx: object, news: tuple[object, ...]) -> None:
        tries.append(len(news))
        raise ValueError("never")

    consumer = Consumer(refuse, "table", (Noted,))
    consumer.context, consumer.path = "kit", "kit.refuse"
    CONSUMERS["kit.refuse"] = consumer
    try:
        await publish_notes(1, 2)
        async with delivering("refuse"):
            await until_parked(2)
    finally:
        del CONSUMERS["kit.refuse"]
    assert tries == [2, 1, 1, 1, 1, 1]  # together, then the first alone; the second waits behind it and is not tried


async def test_an_event_on_which_its_consumer_hangs_is_parked_and_others_go_on(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.delivery.APPLY_WITHIN_S", 0.3)
    await run_sql("INSERT INTO kit.poison VALUES (777)")
    bad, good = new_id(), new_id()
    async with notebook.db.transaction() as tx:
        await publish(tx, Noted(good, 1), Noted(bad, 777), Noted(good, 2))
    async with delivering("dawdle_over_notes"):
        (letter,) = await until_parked(1)
        await until_heard(2, "dawdle_over_notes")
    assert (letter.aggregate_id, letter.reason) == (bad, "Hung: kit.dawdle_over_notes was not done with it in 0.3 s")


async def test_an_event_whose_statement_takes_too_long_is_parked_and_others_go_on(here: str) -> None:
    async def sleep_over_poison(tx: Transaction, news: tuple[Delivered[Noted], ...]) -> None:
        await tx.run("SET LOCAL statement_timeout = '200ms'")
        numbers = [one.event.number for one in news]
        await tx.run("SELECT pg_sleep(5) WHERE 777 = ANY($1::int[])", numbers)
        await tx.run(notebook.HEAR, "sleep_over_poison", 0, [one.event_id for one in news], [one.event.note_id for one in news], numbers)

    consumer = Consumer(sleep_over_poison, "table", (Noted,))
    consumer.context, consumer.path = "kit", "kit.sleep_over_poison"
    CONSUMERS["kit.sleep_over_poison"] = consumer
    bad, good = new_id(), new_id()
    try:
        async with notebook.db.transaction() as tx:
            await publish(tx, Noted(good, 1), Noted(bad, 777), Noted(good, 2))
        async with delivering("sleep_over_poison"):
            (letter,) = await until_parked(1)
            await until_heard(2, "sleep_over_poison")
    finally:
        del CONSUMERS["kit.sleep_over_poison"]
    assert (letter.aggregate_id, letter.reason.partition(":")[0]) == (bad, "Hung")
    assert await numbers_heard("sleep_over_poison") == [1, 2]


@pytest.mark.parametrize("kind", ["table", "call"])
async def test_an_event_on_which_its_consumer_fails_like_a_machine_is_parked_and_others_go_on(
    here: str, kind: Literal["table", "call"]
) -> None:
    tries: list[int] = []

    async def look_for_files(news: tuple[Delivered[Noted], ...]) -> None:
        tries.append(len(news))
        if any(one.event.number == 777 for one in news):
            raise FileNotFoundError("note 777")

    async def file_notes(tx: Transaction, news: tuple[Delivered[Noted], ...]) -> None:
        await look_for_files(news)

    consumer = Consumer(file_notes if kind == "table" else look_for_files, kind, (Noted,))
    consumer.context, consumer.path = "kit", "kit.file_notes"
    CONSUMERS["kit.file_notes"] = consumer
    bad, good = new_id(), new_id()
    try:
        async with notebook.db.transaction() as tx:
            await publish(tx, Noted(good, 1), Noted(bad, 777), Noted(good, 2))
        async with delivering("file_notes"):
            (letter,) = await until_parked(1)
    finally:
        del CONSUMERS["kit.file_notes"]
    assert (letter.aggregate_id, letter.reason) == (bad, "Broke: FileNotFoundError: note 777")
    assert tries[:7] == [3, 1, 1, 1, 1, 1, 1]


async def test_a_connection_that_is_lost_under_a_consumer_is_no_events_fault(here: str) -> None:
    tries: list[int] = []

    async def lose_the_line(tx: Transaction, news: tuple[Delivered[Noted], ...]) -> None:
        tries.append(len(news))
        if len(tries) < 8:
            tx.connection.terminate()
            raise ConnectionResetError("the line is dead")
        await tx.run("SELECT true")

    consumer = Consumer(lose_the_line, "table", (Noted,))
    consumer.context, consumer.path = "kit", "kit.lose_the_line"
    CONSUMERS["kit.lose_the_line"] = consumer

    async def is_applied() -> bool:
        return len(tries) == 8

    try:
        await publish_notes(1)
        async with delivering("lose_the_line"):
            await until(is_applied, within_s=30)
            assert await parked() == ()
    finally:
        del CONSUMERS["kit.lose_the_line"]


async def test_how_far_a_consumer_is_behind(here: str) -> None:
    await run_sql("INSERT INTO kit.poison VALUES (777)")
    consumer = {"consumer": "kit.dawdle_over_notes", "source": "kit"}

    async def behind() -> bool:
        return (REGISTRY.get_sample_value("souk_event_lag_seconds", consumer) or 0) > 0.3

    async def caught_up() -> bool:
        return REGISTRY.get_sample_value("souk_event_lag_seconds", consumer) == 0

    async with delivering("dawdle_over_notes"):
        await publish_notes(1)
        await until_heard(1, "dawdle_over_notes")
        await until(caught_up)
        await publish_notes(777)
        await until(behind)
        await run_sql("DELETE FROM kit.poison")
        await until_heard(2, "dawdle_over_notes")
        await until(caught_up)


async def test_who_begins_and_cannot_write_where_they_are_is_seen_to_be_behind(here: str) -> None:
    """They go on from the position that they can read, and what waits behind it shows that nothing is applied."""
    consumer = {"consumer": "kit.hear_notes", "source": "kit"}

    async def behind() -> bool:
        return (REGISTRY.get_sample_value("souk_event_lag_seconds", consumer) or 0) > 0.3

    async with delivering():
        await publish_notes(1)
        await until_heard(1)
    other = await asyncpg.connect(here)
    async with other.transaction():
        await other.execute("LOCK TABLE kit.consumer_position IN SHARE MODE")
        await publish_notes(2)
        async with delivering():
            await until(behind)
    await other.close()
    async with delivering():
        await until_heard(2)


async def test_a_mended_event_is_redriven_with_all_that_waited_behind_it_in_order(here: str) -> None:
    await run_sql("INSERT INTO kit.poison VALUES (666)")
    bad = await publish_notes(1, 666, 2, 3)
    async with delivering():
        letters = await until_parked(3)
        with pytest.raises(ValueError, match="number 666 is poison"):
            await redrive(letters[0].event_id)
        assert (await parked(), await numbers_heard()) == (letters, [1])
        await run_sql("DELETE FROM kit.poison")
        assert await redrive(letters[2].event_id) == 3
        assert await numbers_heard() == [1, 666, 2, 3]
        assert await parked() == ()
        await publish_notes(4, note_id=bad)
        await until_heard(5)
    assert await numbers_heard() == [1, 666, 2, 3, 4]
    with pytest.raises(NotFound):
        await redrive(letters[0].event_id)


async def test_what_comes_in_while_another_is_redriven_is_not_left_behind(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await run_sql("INSERT INTO kit.poison VALUES (666)")
    bad = await publish_notes(666)
    async with delivering():
        letters = await until_parked(1)
        await run_sql("DELETE FROM kit.poison")
        find_for_real, seen = deadletters.find_blocked, asyncio.Event()

        async def find_and_dawdle(*arguments: object) -> object:
            blocked = await find_for_real(*arguments)  # type: ignore[arg-type]
            seen.set()
            await asyncio.sleep(0.2)
            return blocked

        monkeypatch.setattr(deadletters, "find_blocked", find_and_dawdle)
        await publish_notes(1, note_id=bad)
        await seen.wait()
        await redrive(letters[0].event_id)
        await until_heard(2)
    assert await numbers_heard() == [666, 1]
    assert await parked() == ()


async def test_dead_letters_are_for_admins(here: str) -> None:
    with pytest.raises(Unauthenticated):
        await deadletters.list_dead_letters("kit", 10)
    with asking(Caller(msgspec.structs.replace(SYSTEM, kind="user", user_id=new_id(), roles=("seller",)))), pytest.raises(Forbidden):
        await deadletters.redrive_dead_letter("kit", new_id())


async def test_a_consumer_that_calls_others_has_its_poison_parked_too(here: str) -> None:
    await run_sql("INSERT INTO kit.poison VALUES (666)")
    bad = await publish_notes(1, 666, 2)
    async with delivering("pass_notes_on"):
        letters = await until_parked(2)
        await publish_notes(3)
        await until_heard(2, "pass_notes_on")
        await run_sql("DELETE FROM kit.poison")
        assert await redrive(letters[0].event_id) == 2
        await publish_notes(4, note_id=bad)
        await until_heard(5, "pass_notes_on")
    assert await numbers_heard("pass_notes_on") == [1, 3, 666, 2, 4]


async def test_a_consumer_that_calls_others_and_is_killed_may_tell_twice_and_never_forgets(
    here: str, start_process: Callable[..., Process]
) -> None:
    for round_ in range(3):
        process = start_process("deliver", here, "pass_notes_on")
        for number in range(30):
            await publish_notes(round_ * 30 + number)
        process.kill()
    start_process("deliver", here, "pass_notes_on")
    await until_heard(90, "pass_notes_on")
    told = await heard("pass_notes_on")
    assert {one.number for one in told} == set(range(90))
    assert [one.number for one in told if one.number == 89] == [89]


async def test_an_event_that_cannot_be_read_any_more_is_parked(here: str) -> None:
    await run_sql(WRITE_FACT, new_id(), {"no": 1})
    async with delivering():
        (letter,) = await until_parked(1)
    assert "missing required field" in letter.reason


async def test_news_that_a_consumer_does_not_want_move_its_position_on(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.delivery.SAVE_EVERY_S", 0.1)
    monkeypatch.setattr("souk.kit.delivery.WAIT_S", 0.05)
    await notebook.scratch_note(new_id())

    async def moved() -> bool:
        return bool(await notebook.db.value("SELECT id > 0 FROM kit.consumer_position WHERE consumer = 'kit.pass_notes_on'"))

    async with delivering("pass_notes_on"):
        await until(moved)
    assert await heard("pass_notes_on") == ()


def test_two_consumers_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match=r"kit\.hear_notes"):

        @subscribes(Noted)
        async def hear_notes(tx: object, news: object) -> None: ...
