"""People read and change themselves; admins read everybody and give roles."""

import asyncio

import pytest
from msgspec import UNSET
from tests.users.people import as_system, as_user, read_token, register, sign_in

from souk import users
from souk.app import Shop
from souk.kit.errors import Forbidden, NotFound, Unauthenticated
from souk.kit.ids import new_id


async def test_people_see_themselves_and_nobody_else(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    with as_user(ada.id, "buyer", "seller"):
        assert (await users.get_user(ada.id)).email == "ada@example.com"
        assert [user.id for user in await users.get_users((bob.id, ada.id))] == [ada.id]
        with pytest.raises(NotFound):
            await users.get_user(bob.id)
        with pytest.raises(NotFound):
            await users.change_user(bob.id, users.ChangeUser(name="Eve"))
        with pytest.raises(Forbidden):
            await users.list_users(None, 20, None)
    with as_user(new_id(), "admin"):
        assert [user.id for user in await users.get_users((bob.id, ada.id))] == sorted((ada.id, bob.id))
        with pytest.raises(NotFound):
            await users.get_user(new_id())


async def test_a_stranger_sees_nobody(shop: Shop) -> None:
    ada = await register()
    assert await users.get_users((ada.id,)) == ()
    with pytest.raises(NotFound):
        await users.get_user(ada.id)
    with pytest.raises(Unauthenticated):
        await users.list_users(None, 20, None)


async def test_what_is_left_out_of_a_change_stays_and_null_empties(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        one = await users.change_user(ada.id, users.ChangeUser("ada", "Ada Lovelace", "+44 20 7946 0000"))
        assert (one.username, one.name, one.phone_number) == ("ada", "Ada Lovelace", "+44 20 7946 0000")
        two = await users.change_user(ada.id, users.ChangeUser(name=None, phone_number=UNSET))
        assert (two.username, two.name, two.phone_number) == ("ada", None, "+44 20 7946 0000")
        assert two.updated_at > one.updated_at
        assert two.created_at == ada.created_at


async def test_of_many_who_want_one_username_one_gets_it(shop: Shop) -> None:
    people = [await register(f"buyer{turn}", f"203.0.113.{turn}") for turn in range(8)]

    async def take(user: users.User, turn: int) -> users.User:
        with as_user(user.id):
            return await users.change_user(user.id, users.ChangeUser(username="Ada" if turn % 2 else "ada"))

    answers = await asyncio.gather(*(take(user, turn) for turn, user in enumerate(people)), return_exceptions=True)
    assert sum(isinstance(answer, users.User) for answer in answers) == 1
    assert sum(isinstance(answer, users.UsernameTaken) for answer in answers) == 7


async def test_one_may_respell_ones_own_username(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        await users.change_user(ada.id, users.ChangeUser("ada"))
        assert (await users.change_user(ada.id, users.ChangeUser("Ada"))).username == "Ada"


async def test_roles_come_with_the_next_token_and_the_present_one_is_void(shop: Shop) -> None:
    ada = await register()
    with as_user(new_id(), "admin"):
        changed = await users.change_roles(ada.id, users.ChangeRoles(("admin", "buyer", "admin")))
        assert changed.roles == ("admin", "buyer")
        with pytest.raises(NotFound):
            await users.change_roles(new_id(), users.ChangeRoles(("admin",)))
    with pytest.raises(Unauthenticated):
        await read_token(ada.access_token)
    fresh = await users.refresh_session(users.Refresh(ada.refresh_token))
    assert (await read_token(fresh.access_token)).roles == ("admin", "buyer")


async def test_nobody_makes_themselves_an_admin(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id, "buyer", "seller"), pytest.raises(Forbidden):
        await users.change_roles(ada.id, users.ChangeRoles(("admin",)))


async def test_no_token_outlives_the_roles_that_it_was_made_with(shop: Shop) -> None:
    """Tokens are asked for while the role comes and goes: whichever is still good tells the truth."""
    ada = await register()
    for turn in range(5):
        role = "admin" if turn % 2 else "buyer"

        async def change(role: users.Role = role) -> None:
            with as_system():
                await users.change_roles(ada.id, users.ChangeRoles((role,)))

        answers = await asyncio.gather(change(), *(sign_in() for _ in range(6)))
        good = 0
        for tokens in answers[1:]:
            assert tokens is not None
            try:
                assert (await read_token(tokens.access_token)).roles == (role,)
                good += 1
            except Unauthenticated:
                continue
        last = await sign_in()
        assert (await read_token(last.access_token)).roles == (role,)
        assert good <= 6


async def test_an_admin_pages_through_everybody_newest_first(shop: Shop) -> None:
    with as_system():
        ids = await users.register_users(tuple(users.NewUser(id=new_id(), email=f"b{turn}@example.com") for turn in range(5)))
        seen: list[object] = []
        cursor = None
        while True:
            page = await users.list_users(None, 2, cursor)
            assert len(page.items) <= 2
            seen += [user.id for user in page.items]
            cursor = page.next
            if cursor is None:
                break
        found = await users.list_users("B3@example.com", 20, None)
    assert seen == sorted(ids, reverse=True)
    assert [user.id for user in found.items] == [ids[3]]
