"""The audit holds what we say to have sent against the book of the post: nothing missing, nothing twice, nothing invented."""

from collections.abc import Callable
from uuid import UUID

import pytest
from tests.notifications.conftest import Post
from tests.notifications.feeds import as_system, make_people
from tests.notifications.mails import intend

from souk import notifications
from souk.app import Shop
from souk.audit import comparing
from souk.audit.letters import compare_letters
from souk.kit.errors import Forbidden, Unauthenticated, Unavailable
from souk.kit.ids import new_id
from souk.notifications import sending
from souk.notifications.channels.channel import Letter
from souk.notifications.channels.email import Email
from souk.notifications.database import db
from souk.notifications.settings import settings


@pytest.fixture
def own(open_post: Callable[..., Post], monkeypatch: pytest.MonkeyPatch, shop: Shop) -> Post:
    """A post that nobody else has used."""
    monkeypatch.setattr(comparing, "AGAIN_AFTER_S", 0.0)
    post = open_post()
    post.use()
    db.owner = 4711
    return post


async def send(count: int = 5) -> list[UUID]:
    ids = await intend(await make_people(count))
    with as_system():
        await sending.send_due("email")
    return ids


async def find() -> set[tuple[str, object, object]]:
    with as_system():
        verdict = await compare_letters()
    return {(one.key, one.found["status"], one.found["taken"]) for one in verdict.findings}


async def test_books_that_agree(own: Post) -> None:
    await send()
    assert await find() == set()
    await intend(await make_people(2))
    assert await find() == set(), "what waits is not in the book yet"


async def test_planted_faults_are_seen(own: Post) -> None:
    lost, doubled, denied, *_ = await send()
    invented = new_id()
    email = Email(own.settings())
    await email.deliver([Letter(one, "ada@x.test", "Hi", "") for one in (doubled, invented)], set())
    never = (await intend(await make_people(1)))[0]
    for statement, one in (
        ("UPDATE notifications.message SET status = 'sent', sent_at = now() WHERE id = $1", never),
        ("UPDATE notifications.message SET status = 'failed', sent_at = NULL, reason = 'x' WHERE id = $1", denied),
        ("DELETE FROM notifications.message WHERE id = $1", lost),
    ):
        await db.pool.execute(statement, one)
    expected = {(never, "sent", 0), (denied, "failed", 1), (lost, None, 1), (doubled, "sent", 2), (invented, None, 1)}
    assert await find() == {(str(one), status, taken) for one, status, taken in expected}
    await email.close()


async def test_who_may_ask_and_who_has_nothing_to_compare(own: Post) -> None:
    with pytest.raises((Forbidden, Unauthenticated)):
        await notifications.check_letters()
    settings.replace(sandbox_url="http://127.0.0.1:9")
    with as_system(), pytest.raises(Unavailable):
        await notifications.check_letters()
    settings.replace(sandbox_url="")
    assert await find() == set()
