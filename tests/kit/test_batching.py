"""Callers are gathered by themselves: a lone one never waits, each gets their own answer, and one's bad data is not the others'."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest
from tests.kit import notebook
from tests.kit.notebook import Note

from souk.kit.batching import Asked, Batcher
from souk.kit.callers import NOBODY, Caller, caller
from souk.kit.errors import DomainError, NotFound, Unavailable
from souk.kit.ids import new_id
from souk.kit.turns import LONG_S, STUCK_S

Batch = tuple[Asked[int], ...]


class Work:
    """Doubles numbers, remembers the batches it was given, and works as long as it is told."""

    def __init__(self, lasts: Callable[[], Awaitable[object]] | None = None) -> None:
        self.batches: list[list[int]] = []
        self.lasts = lasts

    async def __call__(self, batch: Batch) -> tuple[int | DomainError, ...]:
        self.batches.append([one.request for one in batch])
        if self.lasts is not None:
            await self.lasts()
        return tuple(NotFound() if one.request == 404 else one.request * 2 for one in batch)


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lone_caller_does_not_wait() -> None:
    work = Work()
    batcher = Batcher(work)
    asking = asyncio.create_task(batcher.ask(1, NOBODY))
    await ticks(2)  # one for the task of ours, one for the batch's: no timer is waited for
    assert work.batches == [[1]]
    assert await asking == 2


async def test_while_a_batch_is_under_way_the_next_one_fills() -> None:
    gate = asyncio.Event()
    work = Work(lasts=gate.wait)
    batcher = Batcher(work, lanes=1)
    first = asyncio.create_task(batcher.ask(0, NOBODY))
    await ticks(3)
    others = [asyncio.create_task(batcher.ask(number, NOBODY)) for number in range(1, 101)]
    await ticks(3)
    assert work.batches == [[0]]
    gate.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [number * 2 for number in range(1, 101)]
    assert work.batches == [[0], list(range(1, 101))]


async def test_a_batch_has_its_largest_size_and_the_lanes_their_number() -> None:
    busy, most = 0, 0

    async def be_busy() -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.01)
        busy -= 1

    work = Work(lasts=be_busy)
    batcher = Batcher(work, size=10, lanes=3, turns=False)
    await asyncio.gather(*(batcher.ask(number, NOBODY) for number in range(95)))
    assert max(len(batch) for batch in work.batches) == 10
    assert sorted(itertools.chain(*work.batches)) == list(range(95))
    assert most == 3


async def test_each_is_answered_or_refused_alone() -> None:
    batcher = Batcher(Work())
    answers = await asyncio.gather(*(batcher.ask(number, NOBODY) for number in (1, 404, 3)), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 6)
    assert isinstance(answers[1], NotFound)


async def test_who_waited_too_long_is_not_worked_for() -> None:
    gate = asyncio.Event()
    work = Work(lasts=gate.wait)
    batcher = Batcher(work, lanes=1)
    first = asyncio.create_task(batcher.ask(0, NOBODY))
    await ticks(3)
    soon = asyncio.get_running_loop().time() + 0.02
    hurried, patient = (asyncio.create_task(batcher.ask(number, Caller(deadline=soon + wait))) for number, wait in ((1, 0.0), (2, 60.0)))
    await asyncio.sleep(0.05)
    gate.set()
    with pytest.raises(Unavailable, match="deadline"):
        await hurried
    assert await patient == 4
    assert await first == 0
    assert work.batches == [[0], [2]]


async def test_who_left_leaves_alone() -> None:
    gate = asyncio.Event()
    work = Work(lasts=gate.wait)
    batcher = Batcher(work, lanes=1)
    under_way, leaves_later = (asyncio.create_task(batcher.ask(number, NOBODY)) for number in (0, 1))
    await ticks(3)
    left, stays = (asyncio.create_task(batcher.ask(number, NOBODY)) for number in (2, 3))
    await ticks(3)
    left.cancel()
    leaves_later.cancel()
    await ticks(3)
    gate.set()
    assert await under_way == 0
    assert await stays == 6
    assert work.batches == [[0, 1], [3]]


async def test_the_batch_belongs_to_none_of_its_callers() -> None:
    seen: list[Caller] = []

    async def look(batch: Batch) -> tuple[int, ...]:
        seen.append(caller())
        return tuple(0 for _ in batch)

    await Batcher(look).ask(1, Caller(request_id="mine"))
    assert seen == [NOBODY]


async def test_a_wrong_number_of_answers_is_a_bug_for_all() -> None:
    async def forget_one(batch: Batch) -> tuple[int, ...]:
        return tuple(one.request for one in batch)[1:]

    batcher = Batcher(forget_one)
    answers = await asyncio.gather(*(batcher.ask(number, NOBODY) for number in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["3 items were asked, 2 answered"] * 3


async def test_after_a_failure_the_next_batch_is_as_good_as_ever() -> None:
    async def fail_once(batch: Batch) -> tuple[int, ...]:
        if batch[0].request == 0:
            raise ZeroDivisionError
        return tuple(one.request for one in batch)

    batcher = Batcher(fail_once, lanes=1)
    with pytest.raises(ZeroDivisionError):
        await batcher.ask(0, NOBODY)
    assert await batcher.ask(1, NOBODY) == 1


class Written:
    """Writes notes in one statement on a real PostgreSQL, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def __call__(self, batch: tuple[Asked[Note], ...]) -> tuple[UUID, ...]:
        self.sizes.append(len(batch))
        async with notebook.db.transaction() as tx:
            await notebook.write(tx, *(one.request for one in batch))
        return tuple(one.request.id for one in batch)


async def test_bad_data_is_found_by_halving_and_only_its_owner_hears_of_it(here: str) -> None:
    work = Written()
    batcher = Batcher(work)
    notes = [Note(new_id(), -1 if number == 37 else number, "\0" if number == 11 else "") for number in range(64)]
    answers = await asyncio.gather(*(batcher.ask(note, NOBODY) for note in notes), return_exceptions=True)
    assert isinstance(answers[37], asyncpg.CheckViolationError)
    assert isinstance(answers[11], asyncpg.CharacterNotInRepertoireError)
    good = [note.id for place, note in enumerate(notes) if place not in (11, 37)]
    assert [answer for answer in answers if isinstance(answer, UUID)] == good
    assert await notebook.db.value("SELECT count(*) FROM kit.note") == 62
    assert len(work.sizes) <= 1 + 2 * 2 * 6  # two culprits, six halvings, two halves each


async def test_a_database_that_cannot_answer_is_asked_once_and_not_once_per_item(here: str) -> None:
    sizes: list[int] = []

    async def hang(batch: Batch) -> tuple[int, ...]:
        sizes.append(len(batch))
        async with notebook.db.transaction() as tx:
            await tx.run("SET LOCAL statement_timeout = '20ms'")
            await tx.run("SELECT pg_sleep(5)")
        return tuple(one.request for one in batch)

    batcher = Batcher(hang)
    answers = await asyncio.gather(*(batcher.ask(number, NOBODY) for number in range(50)), return_exceptions=True)
    assert sizes == [50]
    assert {type(answer) for answer in answers} == {Unavailable}
    assert len({id(answer) for answer in answers}) == 50


async def test_a_lost_connection_is_unavailable_for_all(here: str) -> None:
    async def lose(batch: Batch) -> tuple[int, ...]:
        async with notebook.db.transaction() as tx:
            await tx.run("SELECT pg_terminate_backend(pg_backend_pid())")
        return ()

    with pytest.raises(Unavailable):
        await Batcher(lose).ask(1, NOBODY)


async def write_crosswise(first: UUID, second: UUID, met: asyncio.Barrier | None) -> None:
    async with notebook.db.transaction() as tx:
        await tx.run("UPDATE kit.note SET number = number + 1 WHERE id = $1", first)
        if met is not None:
            await met.wait()
        await tx.run("UPDATE kit.note SET number = number + 1 WHERE id = $1", second)


async def test_a_deadlock_repeats_one_of_the_batches(here: str) -> None:
    one, other = new_id(), new_id()
    async with notebook.db.transaction() as tx:
        await notebook.write(tx, Note(one, 0), Note(other, 0))
    met = asyncio.Barrier(2)
    tries: list[UUID] = []

    def work_on(first: UUID, second: UUID) -> Batcher[int, int]:
        async def work(batch: Batch) -> tuple[int, ...]:
            tries.append(first)
            await write_crosswise(first, second, met if tries.count(first) == 1 else None)
            return tuple(item.request for item in batch)

        return Batcher(work)

    assert await asyncio.gather(work_on(one, other).ask(1, NOBODY), work_on(other, one).ask(2, NOBODY)) == [1, 2]
    assert len(tries) in (3, 4)  # a machine under load may let the one that lost come first again
    assert await notebook.db.value("SELECT array_agg(number) FROM kit.note") == [2, 2]


async def test_a_conflict_that_stays_is_unavailable() -> None:
    tries = 0

    async def conflict(batch: Batch) -> tuple[int, ...]:
        nonlocal tries
        tries += 1
        raise asyncpg.SerializationError("could not serialize access")

    with pytest.raises(Unavailable):
        await Batcher(conflict).ask(1, NOBODY)
    assert tries == 3


async def test_batches_take_turns_so_that_those_that_wait_grow() -> None:
    gate = asyncio.Event()
    long, short = Work(lasts=gate.wait), Work()
    busy = asyncio.create_task(Batcher(long).ask(1, NOBODY))
    await ticks(3)
    other = Batcher(short)
    waiting = [asyncio.create_task(other.ask(1, NOBODY))]
    await ticks(3)
    waiting += [asyncio.create_task(other.ask(number, NOBODY)) for number in range(2, 30)]
    await ticks(3)
    assert short.batches == []
    gate.set()
    await asyncio.gather(busy, *waiting)
    assert short.batches == [list(range(1, 30))]


async def test_what_has_begun_is_finished_before_anything_new() -> None:
    order: list[str] = []

    def step(name: str) -> Batcher[int, int]:
        async def work(batch: tuple[Asked[int], ...]) -> tuple[int, ...]:
            order.append(f"{name} {len(batch)}")
            await asyncio.sleep(0.01)
            return tuple(one.request for one in batch)

        return Batcher(work, lanes=1)

    first, second, third, other = step("first"), step("second"), step("third"), step("other")

    async def go() -> None:
        for one in (first, second, third):
            await one.ask(1, NOBODY)

    gates = [asyncio.Event(), asyncio.Event()]
    busy = [asyncio.create_task(Batcher(Work(lasts=gate.wait)).ask(1, NOBODY)) for gate in gates]
    await ticks(3)
    together = [asyncio.create_task(go()) for _ in range(5)]
    await ticks(3)
    later = [asyncio.create_task(other.ask(1, NOBODY)) for _ in range(3)]
    await ticks(3)
    gates[0].set()
    await asyncio.gather(*together, *later)
    gates[1].set()
    await asyncio.gather(*busy)
    assert order == ["first 5", "second 5", "third 5", "other 3"]


async def test_a_batch_that_asks_another_does_not_wait_for_a_turn() -> None:
    inner = Batcher(Work(), lanes=1)

    async def ask_on(batch: tuple[Asked[int], ...]) -> tuple[int, ...]:
        return tuple(await asyncio.gather(*(inner.ask(one.request, NOBODY) for one in batch)))

    began = asyncio.get_running_loop().time()
    outer = [Batcher(ask_on, size=1, lanes=4) for _ in range(5)]
    answers = await asyncio.gather(*(one.ask(number, NOBODY) for one in outer for number in range(10)))
    assert answers == [number * 2 for number in range(10)] * 5
    assert asyncio.get_running_loop().time() - began < STUCK_S, "nobody waited until a turn was over"


async def test_who_is_in_the_queue_does_not_hold_up_who_is_urgent() -> None:
    gate = asyncio.Event()
    inner = Batcher(Work(), lanes=1)

    async def ask_on(batch: tuple[Asked[int], ...]) -> tuple[int, ...]:
        await gate.wait()
        return tuple(await asyncio.gather(*(inner.ask(one.request, NOBODY) for one in batch)))

    busy = asyncio.create_task(Batcher(ask_on).ask(1, NOBODY))
    await ticks(3)
    queued = asyncio.create_task(inner.ask(50, NOBODY))
    await ticks(3)
    assert not queued.done()
    gate.set()
    assert await asyncio.wait_for(asyncio.gather(busy, queued), LONG_S) == [2, 100]


async def test_a_batch_that_takes_long_lets_one_other_go_on_and_two_that_are_stuck_a_third() -> None:
    gate = asyncio.Event()
    stuck = [asyncio.create_task(Batcher(Work(lasts=gate.wait)).ask(number, NOBODY)) for number in range(2)]
    third = Work()
    waiting = asyncio.create_task(Batcher(third).ask(4, NOBODY))
    await asyncio.sleep(STUCK_S - 4 * LONG_S)
    assert third.batches == []
    assert await asyncio.wait_for(waiting, 10 * STUCK_S) == 8
    gate.set()
    await asyncio.gather(*stuck)
    # Turns that were passed on early are not given twice.
    again, last = asyncio.Event(), Work()
    busy = asyncio.create_task(Batcher(Work(lasts=again.wait)).ask(1, NOBODY))
    await ticks(3)
    waiting = asyncio.create_task(Batcher(last).ask(1, NOBODY))
    await ticks(3)
    assert last.batches == []
    again.set()
    await asyncio.gather(busy, waiting)
