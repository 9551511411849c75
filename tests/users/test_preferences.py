"""Everybody has preferences; until they set any, the usual ones."""

import pytest
from tests.caches import CacheServer
from tests.users.people import as_system, as_user, events_of, register
from tests.waiting import until

from souk import users
from souk.app import Shop
from souk.kit.errors import InvalidField, NotFound
from souk.kit.ids import new_id
from souk.users import preferences
from souk.users.database import db

CHANGE = """
    INSERT INTO users.user_preferences (user_id, categories, brands, language, timezone, notifications)
    VALUES ($1, '{}', '{}', 'fr', 'UTC', '{}')
"""
WANTED = users.SetPreferences(
    categories=("phones", "books"),
    brands=("Acme",),
    language="de-DE",
    currency="EUR",
    timezone="Europe/Berlin",
    notifications={"order_updates": {"email": True, "sms": False}},
)


async def test_who_has_set_nothing_has_the_usual_preferences(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        (mine,) = await users.get_preferences((ada.id,))
    usual = users.SetPreferences()
    for name in users.SetPreferences.__struct_fields__:
        assert getattr(mine, name) == getattr(usual, name)
    assert (mine.user_id, mine.created_at, mine.updated_at) == (ada.id, ada.created_at, ada.created_at)


async def test_preferences_are_replaced_as_a_whole(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        one = await users.set_preferences(ada.id, WANTED)
        for name in users.SetPreferences.__struct_fields__:
            assert getattr(one, name) == getattr(WANTED, name)
        two = await users.set_preferences(ada.id, users.SetPreferences(brands=("Umbrella",)))
        assert (two.brands, two.categories, two.currency, two.notifications) == (("Umbrella",), (), None, {})
        assert two.created_at == one.created_at < two.updated_at
    assert await events_of("PreferencesChanged") == [ada.id, ada.id]


async def test_only_what_exists_is_accepted(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        for wrong in (users.SetPreferences(currency="ABC"), users.SetPreferences(timezone="Mars/Olympus")):
            with pytest.raises(InvalidField):
                await users.set_preferences(ada.id, wrong)
        for zone in ("UTC", "Asia/Kolkata", "Asia/Calcutta", "America/Argentina/Buenos_Aires"):
            assert (await users.set_preferences(ada.id, users.SetPreferences(timezone=zone))).timezone == zone


async def test_another_users_preferences_are_not_there(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    with as_user(bob.id):
        assert await users.get_preferences((ada.id,)) == ()
        with pytest.raises(NotFound):
            await users.set_preferences(ada.id, WANTED)
    with as_system():
        assert {one.user_id for one in await users.get_preferences((ada.id, bob.id, new_id()))} == {ada.id, bob.id}
        with pytest.raises(NotFound):
            await users.set_preferences(new_id(), WANTED)


async def test_who_tells_users_of_things_reads_what_another_process_has_read(cached_shop: CacheServer) -> None:
    ada = await register()
    with as_system():

        async def is_shared() -> bool:
            await users.get_preferences((ada.id,))
            preferences.preferences._kept.clear()
            return bool(cached_shop.keys("souk:preferences:*:value:*"))

        await until(is_shared)
        # Nobody is told, so that whoever read the table would be known.
        await db.pool.execute(CHANGE, ada.id)
        (taken,) = await users.get_preferences((ada.id,))
        assert taken.language == "en"
    with as_user(ada.id):
        (own,) = await users.get_preferences((ada.id,))
        assert own.language == "fr"
        await users.set_preferences(ada.id, WANTED)
    with as_system():
        for _ in range(10):
            (new,) = await users.get_preferences((ada.id,))
            assert new.language == "de-DE"
            preferences.preferences._kept.clear()
        shared = b"".join(cached_shop.client().get(key) or b"" for key in cached_shop.keys("*"))
        assert b"ada@example" not in shared


async def test_preferences_of_who_has_left_are_nowhere(cached_shop: CacheServer) -> None:
    ada = await register()

    async def is_shared() -> bool:
        with as_system():
            await users.get_preferences((ada.id,))
        preferences.preferences._kept.clear()
        return bool(cached_shop.keys(f"*{ada.id}*"))

    await until(is_shared)
    with as_user(ada.id):
        await users.erase_user(ada.id)
    with as_system():
        assert await users.get_preferences((ada.id,)) == ()

    async def is_gone() -> bool:
        return not cached_shop.keys(f"*:value:{ada.id}*")

    await until(is_gone)
