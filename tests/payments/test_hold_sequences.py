"""C-05: whatever is done to a hold, after each other or at once, again or by another id, it is resolved at most once.

What happens at the same moment must have answers, and leave books, as if it had happened one after the other in some order.
"""

import asyncio
from collections.abc import Sequence
from itertools import permutations
from typing import Literal
from uuid import UUID

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.payments.holding import hold, let_time_end, post, void, wallet_of
from tests.payments.money import fill_wallet
from tests.torture import rounds

from souk.app import Shop
from souk.kit.errors import DomainError
from souk.kit.ids import new_id
from souk.payments.database import db
from souk.payments.wallet_types import Hold, HoldResolved

HELD, FILLED = 100, 250
Kind = Literal["hold", "hold_otherwise", "post", "void", "expire"]


class Step(msgspec.Struct, frozen=True):
    """Something that is asked for; `number` is that of the resolution's id, so that the same may be asked for again."""

    kind: Kind
    cents: int = 0
    number: int = 0


class Model(msgspec.Struct, frozen=True):
    """What is known of one hold and its two wallets: how it stands, by which resolution, and which request made it."""

    status: str = "none"
    posted: int = 0
    number: int = -1
    made: str = ""


def answer_of(model: Model, step: Step) -> tuple[Model, object]:
    """What a step is to answer, and what holds after it."""
    if step.kind == "expire":
        # A test lets time end by writing an earlier end into the row: no request is any more the one that made it.
        return (msgspec.structs.replace(model, status="expired", made="time") if model.status == "open" else model), None
    if step.kind in ("hold", "hold_otherwise"):
        now = model if model.made else Model("open", made=step.kind)
        return now, (now.status, now.posted) if now.made == step.kind else "idempotency_key_reused"
    wanted = Model("posted" if step.kind == "post" else "voided", step.cents, step.number, model.made)
    refusal = refusal_of(model, wanted)
    return (model, refusal) if refusal else (wanted, (wanted.status, wanted.posted))


def refusal_of(model: Model, wanted: Model) -> object | None:
    """Why a hold that stands so cannot end as it is wanted; nothing if it does or has."""
    if model.status == "none":
        return "payments.hold_not_found"
    if model.number == wanted.number:
        return None if model == wanted else "idempotency_key_reused"
    if model.status != "open":
        return "payments.hold_resolved", model.status, model.posted
    return "payments.post_too_large" if wanted.posted > HELD else None


class Bank:
    """A hold of the shop's, and who asks for it."""

    def __init__(self) -> None:
        self.anna, self.ben, self.hold_id = new_id(), new_id(), new_id()
        self.resolutions: list[UUID] = [new_id() for _ in range(4)]

    async def look(self) -> tuple[str, int]:
        """How the hold stands, in its row."""
        row = await db.pool.fetchrow("SELECT status, posted FROM payments.hold WHERE id = $1", self.hold_id)
        return (row["status"], row["posted"]) if row else ("none", 0)

    async def do(self, step: Step) -> object:
        """Do a step; its answer as the model has it."""
        try:
            done = await self.ask(step)
        except HoldResolved as refused:
            return refused.code, refused.outcome, refused.posted.amount
        except DomainError as refused:
            return refused.code
        return None if done is None else (done.status, done.posted.amount)

    async def ask(self, step: Step) -> Hold | None:
        resolution = self.resolutions[step.number]
        match step.kind:
            case "hold":
                return await hold(self.anna, HELD, self.ben, self.hold_id)
            case "hold_otherwise":
                return await hold(self.anna, HELD, self.ben, self.hold_id, minutes=30)
            case "post":
                return await post(self.anna, self.hold_id, step.cents, resolution)
            case "void":
                return await void(self.ben, self.hold_id, resolution)
        return await let_time_end(self.hold_id)


def find_order(model: Model, steps: Sequence[Step], answers: Sequence[object]) -> set[Model]:
    """What may hold after steps that were done at once, by every order of them in which these answers are right."""
    possible: set[Model] = set()
    for order in permutations(range(len(steps))):
        now, right = model, True
        for index in order:
            now, answer = answer_of(now, steps[index])
            right = right and answer == answers[index]
        if right:
            possible.add(now)
    return possible


numbers = st.integers(0, 3)
steps = st.one_of(
    st.builds(Step, st.sampled_from(["hold", "hold_otherwise", "expire"])),
    st.builds(Step, st.just("post"), st.sampled_from([1, 40, HELD, HELD + 1]), numbers),
    st.builds(Step, st.just("void"), st.just(0), numbers),
)
waves = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=1, max_size=6)


@settings(max_examples=rounds(40, 2_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(waves, st.booleans())
async def test_a_hold_is_resolved_at_most_once(shop: Shop, sequence: list[list[Step]], held_first: bool) -> None:
    bank, model = Bank(), Model()
    await fill_wallet(bank.anna, FILLED)
    await fill_wallet(bank.ben, FILLED)
    for wave in ([[Step("hold")]] if held_first else []) + sequence:
        answers = await asyncio.gather(*(bank.do(step) for step in wave))
        possible, stands = find_order(model, wave, answers), await bank.look()
        after = [one for one in possible if (one.status, one.posted) == stands]
        assert len(after) == 1, f"{wave} at once, after {model}, answered {answers}: possible are {possible}, it stands at {stands}"
        (model,) = after
        held = HELD if model.status == "open" else 0
        assert await wallet_of(bank.anna) == (FILLED - model.posted, held, FILLED - model.posted - held)
        assert await wallet_of(bank.ben) == (FILLED + model.posted, 0, FILLED + model.posted)


def test_the_model_knows_a_second_resolution() -> None:
    """What this test would say of a shop that posts and then voids."""
    both = [Step("post", 40, 0), Step("void", 0, 1)]
    assert find_order(Model("open"), both, [("posted", 40), ("voided", 0)]) == set()
    assert find_order(Model("open"), both, [("posted", 40), ("payments.hold_resolved", "posted", 40)]) == {Model("posted", 40, 0)}
