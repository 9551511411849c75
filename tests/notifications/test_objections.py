"""The audit sees what was sent after its recipient had said no, and nothing in what was sent before that."""

from datetime import datetime

import pytest
from tests.conftest import asked_by
from tests.notifications.feeds import as_system, make_people
from tests.notifications.mails import intend
from tests.notifications.tidings import choose

from souk import notifications
from souk.kit.errors import Forbidden
from souk.notifications import objections
from souk.notifications.database import db

pytestmark = pytest.mark.usefixtures("shop")

LONG_AGO = "UPDATE users.user_preferences SET updated_at = now() - interval '1 hour'"
SEND = "UPDATE notifications.message SET status = 'sent', sent_at = now(), decided_at = now() - $1::interval"


async def find() -> tuple[notifications.SentUnwanted, ...]:
    with as_system():
        return await notifications.find_unwanted()


async def test_what_was_sent_after_a_no_is_found_and_what_was_sent_before_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objections, "PAGE", 3)
    people = await make_people(10)
    for person in people:
        await choose(person, notifications={"order_updates": {"email": False}})
        await intend([person], "order_shipped")
        await intend([person], "order_shipped", "in_app")
        await intend([person], "reset_password")
    await db.pool.execute(SEND, datetime.resolution)
    assert await find() == (), "it is only just no"
    await db.pool.execute(LONG_AGO)
    found = await find()
    assert [(one.user_id, one.topic, one.channel) for one in found] == [(person, "order_updates", "email") for person in sorted(people)]
    assert all(one.decided_at > one.said_at for one in found)
    await choose(people[0], notifications={"order_updates": {"email": True}})
    assert {one.user_id for one in await find()} == set(people[1:])


async def test_only_admins_ask() -> None:
    with asked_by("seller"), pytest.raises(Forbidden):
        await notifications.find_unwanted()
