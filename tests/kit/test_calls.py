"""A call gives the same in this process and over real sockets from another: values, refusals, callers, deadlines."""

import asyncio
import os
from datetime import UTC, datetime

import pytest
from tests.kit import notebook
from tests.kit.notebook import Everything, Note, NoteRefused, Reason

from souk.kit.callers import Caller, Principal, asking
from souk.kit.calls import exposed
from souk.kit.db import CallInTransaction
from souk.kit.errors import REFUSALS, Conflict, DomainError, Unavailable, refusal_from_wire, refusal_to_wire
from souk.kit.ids import new_id
from souk.kit.money import Money

BUYER = Principal("user", new_id(), ("buyer",), (new_id(),))
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
ATTRIBUTES: dict[str, object] = {"a": [1, "b", None, {"c": 1.5}]}
ALL = Everything(new_id(), "ünï\u2028códe", 2**53 + 1, Money(-1250, "JPY"), MOMENT, "new", (Reason("late", 2),), ATTRIBUTES)


async def test_every_kind_of_value_comes_back_as_it_went(anywhere: str) -> None:
    assert await notebook.echo(ALL, False) == (ALL,)
    assert await notebook.echo(ALL) == (ALL,)
    assert await notebook.echo(twice=True, value=ALL) == (ALL, ALL)
    assert await notebook.forget() is None


async def test_a_refusal_keeps_class_fields_code_and_message(anywhere: str) -> None:
    note_id = new_id()
    with pytest.raises(NoteRefused) as refused:
        await notebook.refuse_note(note_id, MOMENT)
    assert type(refused.value) is NoteRefused
    assert refused.value.values() == {
        "note_id": note_id,
        "reasons": (Reason("late", 2), Reason("long", 1)),
        "limit": Money(1250, "EUR"),
        "until": MOMENT,
    }
    assert (refused.value.code, refused.value.status) == ("kit.note_refused", 409)
    assert str(refused.value) == f"Note {note_id} is refused, and so is all above {Money(1250, 'EUR')}."


async def test_a_neighbours_silence_is_silence(anywhere: str) -> None:
    with pytest.raises(Unavailable, match="card processor"):
        await notebook.be_silent()


async def test_a_bug_here_is_a_bug(here: str) -> None:
    with pytest.raises(ZeroDivisionError):
        await notebook.break_down()


async def test_a_bug_over_there_is_silence_here(there: object) -> None:
    with pytest.raises(Unavailable, match="kit/break_down failed"):
        await notebook.break_down()


async def test_a_call_ends_at_its_time_out(anywhere: str) -> None:
    assert await notebook.dawdle(0.0) == 0.0
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await notebook.dawdle(5.0)
    assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_caller_in_a_hurry_is_not_kept_longer_than_they_wait(anywhere: str) -> None:
    now = asyncio.get_running_loop().time()
    with asking(Caller(deadline=now + 0.1)), pytest.raises(Unavailable):
        await notebook.dawdle(0.25)
    with asking(Caller(deadline=now)), pytest.raises(Unavailable, match="not begun"):
        await notebook.forget()


async def test_who_asks_travels_with_the_call(anywhere: str) -> None:
    loop = asyncio.get_running_loop()
    with asking(Caller(BUYER, "request-7", "key-7", "guest-7", loop.time() + 2.0)):
        seen = await notebook.describe_caller()
    assert (seen.principal, seen.request_id, seen.idempotency_key, seen.guest_token) == (BUYER, "request-7", "key-7", "guest-7")
    assert 1.0 < seen.seconds_left <= 2.0
    assert (seen.pid == os.getpid()) == (anywhere == "here")


async def test_an_idempotency_key_is_for_the_function_that_was_asked_and_not_for_those_it_asks(anywhere: str) -> None:
    with asking(Caller(BUYER, "request-7", "key-7")):
        seen = await notebook.describe_inner_caller()
    assert (seen.principal, seen.request_id, seen.idempotency_key) == (BUYER, "request-7", None)


async def test_a_deadline_is_never_later_than_the_callees_own(anywhere: str) -> None:
    with asking(Caller(BUYER)):
        assert (await notebook.describe_caller()).seconds_left <= 5.0


async def test_nobody_is_called_while_a_transaction_is_open(here: str) -> None:
    with pytest.raises(CallInTransaction, match=r"kit/forget .* a transaction of kit"):
        await notebook.call_in_transaction()
    async with notebook.db.transaction():
        with pytest.raises(CallInTransaction):
            await notebook.count_note(Note(new_id(), 1))
        with pytest.raises(CallInTransaction):
            await notebook.db.value("SELECT 1")
        with pytest.raises(CallInTransaction):
            async with notebook.db.transaction():
                pass
    assert await notebook.forget() is None


async def test_a_task_begun_in_a_transaction_may_not_call_either(here: str) -> None:
    async with notebook.db.transaction():
        with pytest.raises(CallInTransaction):
            await asyncio.create_task(notebook.forget())


async def test_a_context_that_is_nowhere_is_a_mistake_of_whoever_set_it_up() -> None:
    with pytest.raises(RuntimeError, match="SOUK_PEER_KIT"):
        await notebook.forget()


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="kit/forget"):

        @exposed()
        async def forget() -> None: ...


def test_two_refusals_of_one_code_are_refused() -> None:
    with pytest.raises(TypeError, match=r"kit\.note_refused"):

        class Other(Conflict, code="kit.note_refused"):
            """Another."""


def test_a_refusal_wants_its_fields_and_no_others() -> None:
    with pytest.raises(TypeError, match="wants until"):
        NoteRefused(new_id(), (), Money(0, "EUR"))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="does not know why"):
        NoteRefused(new_id(), (), Money(0, "EUR"), None, why="x")  # type: ignore[call-arg]


@pytest.mark.parametrize("code", [code for code, refused in sorted(REFUSALS.items()) if not refused.fields])
def test_a_refusal_without_fields_survives_the_wire(code: str) -> None:
    assert type(refusal_from_wire(refusal_to_wire(REFUSALS[code]()))) is REFUSALS[code]


async def test_a_batch_gives_each_their_own_answer_or_refusal(anywhere: str) -> None:
    notes = [Note(new_id(), number) for number in (1, 13, 2)]
    answers = await asyncio.gather(*(notebook.count_note(note) for note in notes), return_exceptions=True)
    refused = answers[1]
    assert isinstance(refused, NoteRefused) and refused.note_id == notes[1].id
    assert [answer.note_id for answer in answers if isinstance(answer, notebook.Counted)] == [notes[0].id, notes[2].id]


async def test_each_of_a_batch_keeps_their_own_caller(anywhere: str) -> None:
    async def ask(number: int) -> tuple[object, object]:
        user = Principal("user", new_id())
        with asking(Caller(user)):
            return user.user_id, (await notebook.count_note(Note(new_id(), number))).user_id

    for asked, answered in await asyncio.gather(*(ask(number + 20) for number in range(50))):
        assert asked == answered


def test_a_refusal_is_an_exception_like_any_other() -> None:
    assert issubclass(NoteRefused, DomainError)
    assert not issubclass(NoteRefused, Unavailable)
