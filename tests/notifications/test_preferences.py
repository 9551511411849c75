"""What somebody wants to be told is shown topic by topic, is theirs alone to change, and knows only what there is."""

from typing import Any

import pytest
from tests.notifications.tidings import add_person
from tests.users.people import as_user

from souk import notifications, users
from souk.app import Shop
from souk.kit.errors import InvalidField, NotFound, Unauthenticated
from souk.notifications.topics import TOPICS
from souk.users import QuietHours, SetNotifications


async def show(user_id: Any) -> dict[str, notifications.TopicChoice]:
    with as_user(user_id):
        return {one.topic: one for one in (await notifications.get_notification_preferences(user_id)).topics}


async def test_who_has_said_nothing_is_told_what_is_usual(shop: Shop) -> None:
    ada = await add_person("ada")
    shown = await show(ada)
    assert set(shown) == set(TOPICS)
    for name, one in shown.items():
        assert {channel for channel, on in one.channels.items() if on} == set(TOPICS[name].channels)
        assert set(one.fixed) == (set(TOPICS[name].channels) if TOPICS[name].urgency == "mandatory" else set())


async def test_what_is_chosen_stands_in_the_preferences_and_leaves_the_rest_alone(shop: Shop) -> None:
    ada = await add_person("ada")
    with as_user(ada):
        await users.set_preferences(ada, users.SetPreferences(brands=("Acme",), timezone="Europe/Berlin"))
        wanted = SetNotifications(
            notifications={"reviews": {"email": False, "sms": True}}, quiet_hours=QuietHours("22:00", "07:00"), digests={"reviews": "daily"}
        )
        chosen = await notifications.set_notification_preferences(ada, wanted)
        (kept,) = await users.get_preferences((ada,))
        assert (kept.notifications, kept.quiet_hours, kept.digests) == (wanted.notifications, wanted.quiet_hours, wanted.digests)
        assert (kept.brands, kept.timezone, chosen.timezone) == (("Acme",), "Europe/Berlin", "Europe/Berlin")
    reviews = (await show(ada))["reviews"]
    assert (reviews.channels["email"], reviews.channels["in_app"], reviews.channels["sms"], reviews.digest) == (False, True, True, "daily")
    with as_user(ada):
        await notifications.set_notification_preferences(ada, SetNotifications())
    assert (await show(ada))["reviews"].channels["email"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"notifications": {"gossip": {"email": True}}},
        {"notifications": {"reviews": {"pigeon": True}}},
        {"notifications": {"security": {"email": False}}},
        {"digests": {"security": "daily"}},
        {"digests": {"gossip": "daily"}},
        {"quiet_hours": QuietHours("22:00", "22:00")},
    ],
)
async def test_what_there_is_not_or_is_fixed_is_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    ada = await add_person("ada")
    with as_user(ada), pytest.raises(InvalidField):
        await notifications.set_notification_preferences(ada, SetNotifications(**wrong))


async def test_nobody_sees_or_changes_anothers(shop: Shop) -> None:
    ada, ben = await add_person("ada"), await add_person("ben")
    with as_user(ben):
        with pytest.raises(NotFound):
            await notifications.get_notification_preferences(ada)
        with pytest.raises(NotFound):
            await notifications.set_notification_preferences(ada, SetNotifications())
    with pytest.raises((NotFound, Unauthenticated)):
        await notifications.set_notification_preferences(ada, SetNotifications())
