"""What a process leaves that dies while it sends, or drops by a failure: the post's book is asked, and each letter leaves once."""

import pytest
from tests.notifications.conftest import Post
from tests.notifications.feeds import make_people
from tests.notifications.mails import count_statuses, intend, leave_behind, named, rows, send
from tests.waiting import until

from souk import app
from souk.app import Shop
from souk.kit.locks import OWNER
from souk.notifications import sending
from souk.notifications.database import db
from souk.notifications.settings import settings


@pytest.fixture(autouse=True)
async def connected(shop: Shop, post: Post) -> None:
    post.use()


@pytest.mark.parametrize(
    ("kind", "book", "taken", "status", "reason"),
    [
        ("order_shipped", True, True, "sent", None),
        ("order_shipped", True, False, "sent", None),
        ("campaign", True, True, "sent", None),
        ("campaign", True, False, "sent", None),
        ("order_shipped", False, True, "waiting", "outcome_unknown"),
        ("reset_password", False, True, "waiting", "outcome_unknown"),
        ("campaign", False, True, "failed", "outcome_unknown"),
    ],
)
async def test_what_a_dead_process_left(post: Post, kind: str, book: bool, taken: bool, status: str, reason: str | None) -> None:
    ids = await intend(await make_people(20), kind)
    if taken:
        await send()
    if not book:
        settings.replace(smtp_is_sandbox=False)
    await db.pool.execute("UPDATE notifications.message SET sent_at = NULL, status = 'waiting' WHERE status = 'sent'")
    await leave_behind(ids)
    assert await send() >= 20
    assert {(row.status, row.reason) for row in (await rows()).values()} == {(status, reason)}
    assert len({one["letter_id"] for one in await post.letters()}) == len(await post.letters()) == 20


async def test_a_book_that_cannot_be_read_is_asked_later(post: Post) -> None:
    ids = await intend(await make_people(2))
    await leave_behind(ids)
    settings.replace(sandbox_url="http://127.0.0.1:9")
    assert await send() == 0
    assert await count_statuses() == {"sending": 2}
    settings.replace(sandbox_url=post.sandbox.url, orphan_grace_s=0.001)
    await send()
    await send()
    assert await count_statuses() == {"sent": 2}


async def test_what_a_failure_of_ours_has_dropped_is_taken_up_again_and_what_is_under_way_is_not(post: Post) -> None:
    settings.replace(orphan_grace_s=0.001)
    dropped, under_way = await intend(await make_people(2))
    db.owner = 4711
    await leave_behind([dropped, under_way])
    await db.pool.execute("UPDATE notifications.message SET owner = 4711")
    sending.in_hand.add(under_way)
    async with db.pool.acquire() as alive, alive.transaction():
        # As every process says that it lives.
        await alive.execute("SELECT pg_advisory_xact_lock($1, 4711)", OWNER)
        await send()
    assert {one: row.status for one, row in (await rows()).items()} == {dropped: "sent", under_way: "sending"}
    sending.in_hand.clear()


async def test_what_the_dead_have_left_leaves_though_the_living_never_rest(post: Post, whole_shop: Shop) -> None:
    """As in a campaign of hours: whoever sends has always something in their hands."""
    post.use(smtp_answer_timeout_s=600.0)
    await intend(await named("timeout_lost", 3), "campaign")
    async with app.at_work(whole_shop):

        async def is_at_it() -> bool:
            return await count_statuses() == {"sending": 3}

        async def have_left() -> bool:
            found = await rows()
            return all(found[one].status == "sent" for one in left)

        await until(is_at_it)
        left = await intend(await make_people(4), "order_shipped")
        await leave_behind(left)
        await until(have_left)
        assert await count_statuses() == {"sending": 3, "sent": 4}
