"""People register once, are made at the command line, or come from elsewhere by the thousand."""

import asyncio
import logging

import bcrypt
import pytest
from tests.users.people import ELSEWHERE, HOME, PASSWORD, as_system, as_user, events_of, read_token, register, sign_in

from souk import users
from souk.app import Shop
from souk.kit.errors import Forbidden, InvalidField, TooMany
from souk.kit.ids import new_id
from souk.users.database import db
from souk.users.settings import settings


async def test_whoever_registers_is_signed_in_as_a_buyer(shop: Shop) -> None:
    ada = await users.register_user(users.Register("Ada@Example.COM", PASSWORD, "ada", "Ada Lovelace", "+44 20 7946 0000"), HOME)
    assert (ada.email, ada.username, ada.name, ada.phone_number) == ("ada@example.com", "ada", "Ada Lovelace", "+44 20 7946 0000")
    assert (ada.roles, ada.email_verified) == (("buyer",), False)
    assert (await read_token(ada.access_token)).user_id == ada.id
    assert await events_of("UserRegistered") == [ada.id]
    assert await events_of("EmailVerificationRequested") == [ada.id]


async def test_an_address_has_one_account_however_it_is_spelled(shop: Shop) -> None:
    await users.register_user(users.Register("ada@example.com", PASSWORD), HOME)
    with pytest.raises(users.EmailTaken):
        await users.register_user(users.Register("ADA@example.com", "another password"), HOME)
    await sign_in("ada")


async def test_a_username_has_one_owner_however_it_is_spelled(shop: Shop) -> None:
    await users.register_user(users.Register("ada@example.com", PASSWORD, "ada"), HOME)
    with pytest.raises(users.UsernameTaken):
        await users.register_user(users.Register("bob@example.com", PASSWORD, "ADA"), HOME)


async def test_of_many_who_register_at_once_with_one_address_one_succeeds(shop: Shop) -> None:
    answers = await asyncio.gather(*(register(address=f"203.0.113.{turn}") for turn in range(20)), return_exceptions=True)
    assert sum(isinstance(answer, users.Registered) for answer in answers) == 1
    assert sum(isinstance(answer, users.EmailTaken) for answer in answers) == 19
    assert len(await events_of("UserRegistered")) == 1


async def test_nobody_looks_up_a_list_of_people_by_registering_them(shop: Shop) -> None:
    await register("ada")
    for _ in range(10):
        with pytest.raises(users.EmailTaken):
            await register("ada", ELSEWHERE)
    with pytest.raises(TooMany):
        await register("bob", ELSEWHERE)
    await register("bob", HOME)


async def test_honest_registrations_from_one_address_are_not_counted(shop: Shop) -> None:
    for turn in range(15):
        await register(f"buyer{turn}")


async def test_an_admin_is_made_at_the_command_line(shop: Shop) -> None:
    with as_system():
        root = await users.create_user("Root@example.com", PASSWORD, ("admin",))
        with pytest.raises(users.EmailTaken):
            await users.create_user("root@example.com", PASSWORD, ("admin",))
        for email, password in (("no address", PASSWORD), ("a@example.com", "short")):
            with pytest.raises(InvalidField):
                await users.create_user(email, password, ("admin",))
    assert (root.roles, root.email_verified) == (("admin",), True)
    assert (await read_token((await sign_in("root")).access_token)).is_admin


async def test_nobody_else_makes_accounts(shop: Shop) -> None:
    with as_user(new_id(), "admin"):
        with pytest.raises(Forbidden):
            await users.create_user("root@example.com", PASSWORD, ("admin",))
        with pytest.raises(Forbidden):
            await users.register_users((users.NewUser(id=new_id(), email="a@example.com"),))


async def test_thousands_come_from_elsewhere_and_again_adds_nobody(shop: Shop) -> None:
    new = tuple(users.NewUser(id=new_id(), email=f"Buyer{turn}@example.com", name="A buyer") for turn in range(1200))
    with as_system():
        assert await users.register_users(new) == tuple(user.id for user in new)
        again = tuple(users.NewUser(id=new_id(), email=user.email) for user in new)
        assert await users.register_users(again) == tuple(user.id for user in new)
        (first,) = await users.get_users((new[0].id,))
    assert (first.email, first.name, first.roles) == ("buyer0@example.com", "A buyer", ("buyer",))
    assert len(await events_of("UserRegistered")) == 1200
    assert await db.value("SELECT count(*) FROM users.users") == 1200


async def test_two_of_a_batch_with_one_address_are_one(shop: Shop) -> None:
    twins = tuple(users.NewUser(id=new_id(), email="ada@example.com") for _ in range(2))
    with as_system():
        first, second = await users.register_users(twins)
    assert first == second


async def test_who_comes_with_a_bcrypt_digest_signs_in_and_gets_a_better_one(shop: Shop) -> None:
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    with as_system():
        await users.register_users((users.NewUser(id=new_id(), email="ada@example.com", password_digest=digest),))
    await sign_in("ada")
    assert str(await db.value("SELECT password_digest FROM users.users")).startswith("$argon2id$")
    await sign_in("ada")


async def test_who_comes_without_a_password_cannot_sign_in(shop: Shop) -> None:
    with as_system():
        await users.register_users((users.NewUser(id=new_id(), email="ada@example.com"),))
    with pytest.raises(users.WrongCredentials):
        await sign_in("ada")


async def test_the_log_names_nobody(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ada = await register("ada")
    for name, password in (("ada", "wrong password"), ("nobody", PASSWORD)):
        with pytest.raises(users.WrongCredentials):
            await sign_in(name, password)
    with pytest.raises(users.EmailTaken):
        await register("ada")
    for secret in ("@example.com", PASSWORD, "wrong password", ada.refresh_token, ada.access_token):
        assert secret not in caplog.text


@pytest.mark.parametrize("password", ["password", "Baseball", "1234567890", "qwertyuiop"])
async def test_a_password_that_everybody_tries_first_is_refused(shop: Shop, password: str) -> None:
    with pytest.raises(InvalidField, match="most common"):
        await users.register_user(users.Register("ada@example.com", password), HOME)
    ada = await register("ada")
    with as_user(ada.id), pytest.raises(InvalidField, match="most common"):
        await users.change_me(users.ChangeMe(password=password, current_password=PASSWORD))


async def test_a_refused_password_is_no_attempt(shop: Shop) -> None:
    settings.replace(attempts=2)
    for _ in range(3):
        with pytest.raises(InvalidField, match="most common"):
            await users.register_user(users.Register("ada@example.com", "password"), HOME)
    ada = await register("ada")
    with as_user(ada.id):
        for _ in range(3):
            with pytest.raises(InvalidField, match="most common"):
                await users.change_me(users.ChangeMe(password="password", current_password=PASSWORD))
        assert (await users.change_me(users.ChangeMe(password=PASSWORD + "!", current_password=PASSWORD))).id == ada.id
