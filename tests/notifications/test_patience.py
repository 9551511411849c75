"""Three days of trouble by a clock that is put forward: relays that swallow everything, put off everything or say nothing (N-07)."""

from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from tests.notifications.conftest import Post
from tests.notifications.feeds import make_people
from tests.notifications.mails import count_statuses, intend, rows, send
from tests.notifications.relays import open_relay
from tests.notifications.tidings import pass_time
from tests.ports import find_free_port
from tests.torture import report, rounds

from souk.notifications.channels import email, relays
from souk.notifications.settings import settings

pytestmark = pytest.mark.usefixtures("shop")

PEOPLE = rounds(60, 1_000)
# The trouble lasts so long that there is time for one more attempt after the longest pause.
TROUBLE, STEP, WORTH = timedelta(hours=64), timedelta(minutes=30), timedelta(hours=72)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is real time in a conversation, and no time at all beside three days."""
    monkeypatch.setattr(relays, "LEFT_ALONE_S", 0.0)
    monkeypatch.setattr(email, "FRESH_S", 30.0)


async def live_through(trouble: timedelta) -> int:
    """Send whenever half an hour has passed; how many attempts that were."""
    spent, attempts = timedelta(), 0
    while spent < trouble:
        attempts += await send()
        await pass_time(STEP)
        spent += STEP
    return attempts


async def recover(post: Post, spent: timedelta = TROUBLE) -> None:
    """From now on there is a relay that takes letters, until nothing is worth sending any more."""
    post.use(smtp_is_sandbox=False, orphan_grace_s=0.001)
    while spent < WORTH:
        await send()
        await pass_time(STEP)
        spent += STEP


@pytest.mark.parametrize("trouble", ["nobody is there", "greeting", "EHLO", "MAIL", "DATA", ".", "451", "421"])
async def test_what_is_worth_three_days_is_there_after_64_hours_of_trouble(post: Post, trouble: str) -> None:
    people = await make_people(PEOPLE)
    await intend(people, "order_shipped", worth=WORTH)
    # A black hole costs an attempt its patience: each takes a moment here, and half a minute in a shop.
    impatient = {"smtp_timeout_s": 0.02, "smtp_answer_timeout_s": 0.02, "smtp_connections": 50, "smtp_is_sandbox": False}
    async with AsyncExitStack() as stack:
        if trouble.isdigit():
            post.use(**{**impatient, "smtp_timeout_s": 2.0, "smtp_answer_timeout_s": 2.0})
            await post.impose(next=trouble, count=1_000_000)
        elif trouble == "nobody is there":
            post.use(**impatient, smtp_port=find_free_port())
        else:
            post.use(**impatient, smtp_port=(await stack.enter_async_context(open_relay(trouble))).port)
        settings.replace(orphan_grace_s=0.001)
        attempts = await live_through(TROUBLE)
    assert set(await count_statuses()) <= {"waiting", "sending"}
    assert await post.letters() == []
    await post.ask("POST", "/control/post/reset")
    await recover(post)
    found = Counter((row.status, row.reason) for row in (await rows()).values())
    assert found == {("sent", None): PEOPLE}
    taken = Counter(str(one["recipient"]) for one in await post.letters())
    assert taken == {f"{person}@example.com": 1 for person in people}
    report(f"N-07-{trouble.strip('.') or 'silence'}.txt", f"N-07 ({trouble}): {PEOPLE} delivered within 72 h, {attempts} attempts")


async def test_what_nobody_takes_for_three_days_ends_and_says_why(post: Post) -> None:
    await intend(await make_people(3), "order_shipped", worth=WORTH)
    async with open_relay("greeting") as relay:
        post.use(smtp_port=relay.port, smtp_timeout_s=0.02, smtp_is_sandbox=False)
        await live_through(WORTH + timedelta(hours=1))
        assert await send() == 0
    assert Counter(row.status for row in (await rows()).values()) == {"failed": 3}
    assert all(row.reason is not None and row.reason.startswith("given_up: ") for row in (await rows()).values())


async def test_a_relay_that_is_known_to_swallow_everything_holds_no_letter(post: Post) -> None:
    await intend(await make_people(3), "order_shipped", worth=WORTH)
    async with open_relay("greeting") as black_hole:
        post.use(smtp_port=black_hole.port, smtp_timeout_s=2.0, smtp_is_sandbox=False)
        await send()
        waited_for = len(black_hole.writers)
        for _ in range(30):
            await pass_time(timedelta(minutes=1))
            await send()
        # Somebody looks whether it is back, and that is not a letter.
        assert waited_for < len(black_hole.writers) < waited_for + 5
    assert await count_statuses() == {"waiting": 3}


async def test_a_relay_that_swallows_everything_is_anothers_work_within_five_minutes(post: Post) -> None:
    """By the clock of letters; that of relays runs in real time, and its patience is a quarter of a second here for two minutes."""
    await intend(await make_people(PEOPLE), "order_shipped")
    async with open_relay("greeting") as black_hole:
        fallback = (f"127.0.0.1:{post.port}",)
        impatient = {"smtp_timeout_s": 0.05, "smtp_fallback_after_s": 0.25, "smtp_is_sandbox": False}
        post.use(smtp_port=black_hole.port, smtp_fallback=fallback, **impatient)
        spent = timedelta()
        while await count_statuses() != {"sent": PEOPLE}:
            await send()
            await pass_time(timedelta(seconds=10))
            spent += timedelta(seconds=10)
            assert spent < timedelta(minutes=5)
    assert len(await post.letters()) == PEOPLE
