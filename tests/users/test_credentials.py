"""What one signs in with is changed by who knows the password, or by who has the mailbox."""

import asyncio
import time
from datetime import timedelta

import pytest
from tests.users.people import (
    ELSEWHERE,
    HOME,
    PASSWORD,
    as_system,
    as_user,
    events_of,
    read_token,
    register,
    sign_in,
    with_token,
)

from souk import users
from souk.app import Shop
from souk.kit.errors import Forbidden, NotFound, TooMany, Unauthenticated
from souk.kit.ids import new_id
from souk.users.database import db
from souk.users.settings import settings
from souk.users.types import MailPurpose

NEW = "an even better password"


async def mail(user: users.User, purpose: MailPurpose) -> str:
    """The token that the mailer sends."""
    with as_system():
        return await users.issue_token(user.id, purpose)


async def test_a_new_password_wants_the_current_one_and_ends_the_other_sessions(shop: Shop) -> None:
    ada = await register()
    here, there = await sign_in(), await sign_in()
    with await with_token(here):
        for wrong in (None, "a wrong password"):
            with pytest.raises(users.WrongPassword):
                await users.change_me(users.ChangeMe(password=NEW, current_password=wrong))
        await read_token(there.access_token)
        await users.change_me(users.ChangeMe(password=NEW, current_password=PASSWORD))
    await read_token(here.access_token)
    await users.refresh_session(users.Refresh(here.refresh_token))
    for tokens in (there, ada):
        with pytest.raises(Unauthenticated):
            await read_token(tokens.access_token)
        with pytest.raises(users.SessionOver):
            await users.refresh_session(users.Refresh(tokens.refresh_token))
    with pytest.raises(users.WrongCredentials):
        await sign_in()
    await sign_in(password=NEW)
    assert await events_of("SessionsRevoked") == [ada.id]


async def test_a_new_address_wants_the_current_password_and_is_to_be_verified(shop: Shop) -> None:
    ada = await register()
    there = await sign_in()
    await users.verify_email(users.VerifyEmail(await mail(ada, "verify_email")))
    with await with_token(ada):
        with pytest.raises(users.WrongPassword):
            await users.change_me(users.ChangeMe(email="new@example.com"))
        changed = await users.change_me(users.ChangeMe(email="New@Example.com", current_password=PASSWORD, name="Ada"))
    assert (changed.email, changed.email_verified, changed.name) == ("new@example.com", False, "Ada")
    with pytest.raises(Unauthenticated):
        await read_token(there.access_token)
    await sign_in("new")
    assert await events_of("EmailVerificationRequested") == [ada.id, ada.id]


async def test_an_address_of_another_is_refused_and_nothing_is_changed(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    with await with_token(ada), pytest.raises(users.EmailTaken):
        await users.change_me(users.ChangeMe(email="bob@example.com", password=NEW, current_password=PASSWORD, name="Ada"))
    await read_token(ada.access_token)
    with as_user(ada.id):
        assert await users.get_user(ada.id) == await plain(ada)
    await sign_in("ada")
    await sign_in("bob")
    assert bob.email == "bob@example.com"


async def plain(user: users.Registered) -> users.User:
    return users.User(**{name: getattr(user, name) for name in users.User.__struct_fields__})


async def test_the_current_password_is_guessed_ten_times_and_no_more(shop: Shop) -> None:
    ada = await register()
    with await with_token(ada):
        for _ in range(10):
            with pytest.raises(users.WrongPassword):
                await users.change_me(users.ChangeMe(password=NEW, current_password="a guess or two"))
        with pytest.raises(TooMany):
            await users.change_me(users.ChangeMe(password=NEW, current_password=PASSWORD))


async def test_of_many_who_change_the_password_at_once_one_succeeds(shop: Shop) -> None:
    settings.replace(password_rounds=20, password_memory_kib=4096)  # slow, so that all have begun before the first is done
    ada = await register()
    with await with_token(ada):
        answers = await asyncio.gather(
            *(users.change_me(users.ChangeMe(password=f"{NEW} {turn}", current_password=PASSWORD)) for turn in range(4)),
            return_exceptions=True,
        )
    (winner,) = (turn for turn, answer in enumerate(answers) if isinstance(answer, users.User))
    assert sum(isinstance(answer, users.WrongPassword) for answer in answers) == 3
    await sign_in(password=f"{NEW} {winner}")


async def test_a_forgotten_password_is_asked_for_and_the_mailbox_sets_a_new_one(shop: Shop) -> None:
    ada = await register()
    await users.request_password_reset(users.ForgotPassword("ADA@example.com"), ELSEWHERE)
    assert await events_of("PasswordResetRequested") == [ada.id]
    token = await mail(ada, "reset_password")
    await users.reset_password(users.ResetPassword(token, NEW))
    with pytest.raises(Unauthenticated):
        await read_token(ada.access_token)
    with pytest.raises(users.SessionOver):
        await users.refresh_session(users.Refresh(ada.refresh_token))
    await sign_in(password=NEW)
    with as_system():
        assert (await users.get_user(ada.id)).email_verified


async def test_a_reset_token_works_once_and_voids_its_twins(shop: Shop) -> None:
    ada = await register()
    first, second = await mail(ada, "reset_password"), await mail(ada, "reset_password")
    await users.reset_password(users.ResetPassword(first, NEW))
    for token in (first, second):
        with pytest.raises(users.BadMailToken):
            await users.reset_password(users.ResetPassword(token, "a thief's password"))
    await sign_in(password=NEW)


async def test_a_reset_token_that_is_used_twice_at_once_sets_one_password(shop: Shop) -> None:
    token = await mail(await register(), "reset_password")
    answers = await asyncio.gather(
        *(users.reset_password(users.ResetPassword(token, f"{NEW} {turn}")) for turn in range(4)), return_exceptions=True
    )
    (winner,) = (turn for turn, answer in enumerate(answers) if answer is None)
    assert sum(isinstance(answer, users.BadMailToken) for answer in answers) == 3
    await sign_in(password=f"{NEW} {winner}")


async def test_tokens_are_for_one_purpose_and_one_address_and_for_an_hour(shop: Shop) -> None:
    ada = await register()
    verify, reset = await mail(ada, "verify_email"), await mail(ada, "reset_password")
    with pytest.raises(users.BadMailToken):
        await users.reset_password(users.ResetPassword(verify, NEW))
    with pytest.raises(users.BadMailToken):
        await users.verify_email(users.VerifyEmail(reset))
    async with db.transaction() as tx:
        await tx.run("UPDATE users.mail_token SET expires_at = expires_at - $1::interval", timedelta(minutes=61))
    with pytest.raises(users.BadMailToken):
        await users.reset_password(users.ResetPassword(reset, NEW))
    with await with_token(ada):
        await users.change_me(users.ChangeMe(email="new@example.com", current_password=PASSWORD))
    with pytest.raises(users.BadMailToken):
        await users.verify_email(users.VerifyEmail(verify))


async def test_a_new_password_voids_reset_mails_that_are_under_way(shop: Shop) -> None:
    ada = await register()
    token = await mail(ada, "reset_password")
    with await with_token(ada):
        await users.change_me(users.ChangeMe(password=NEW, current_password=PASSWORD))
    with pytest.raises(users.BadMailToken):
        await users.reset_password(users.ResetPassword(token, "a thief's password"))


async def test_only_hashes_of_tokens_are_kept(shop: Shop) -> None:
    token = await mail(await register(), "reset_password")
    assert token.encode() not in bytes(await db.value("SELECT token_hash FROM users.mail_token"))


async def test_asking_for_an_unknown_mailbox_is_answered_alike_and_as_late(shop: Shop) -> None:
    await register("ada")

    async def time_of(name: str, address: str) -> float:
        began = time.perf_counter()
        await users.request_password_reset(users.ForgotPassword(f"{name}@example.com"), address)
        return time.perf_counter() - began

    known = sorted([await time_of("ada", f"198.51.100.{turn}") for turn in range(5)])
    unknown = sorted([await time_of("nobody", f"198.51.100.{turn}") for turn in range(5)])
    assert known[2] >= 0.099, "the event loop's clock has milliseconds"
    assert abs(known[2] - unknown[2]) < 0.1
    assert len(await events_of("PasswordResetRequested")) == 5


async def test_a_mailbox_is_not_flooded(shop: Shop) -> None:
    await register()
    for turn in range(10):
        await users.request_password_reset(users.ForgotPassword("ada@example.com"), f"198.51.100.{turn}")
    with pytest.raises(TooMany):
        await users.request_password_reset(users.ForgotPassword("ada@example.com"), HOME)
    assert len(await events_of("PasswordResetRequested")) == 10


async def test_a_reset_lets_the_owner_in_whom_strangers_had_shut_out(shop: Shop) -> None:
    ada = await register(address=HOME)
    for turn in range(10):
        with pytest.raises(users.WrongCredentials):
            await sign_in(password="a guess", address=f"198.51.100.{turn}")
    with pytest.raises(TooMany):
        await sign_in(address="192.0.2.1")
    await users.reset_password(users.ResetPassword(await mail(ada, "reset_password"), NEW))
    await sign_in(password=NEW, address="192.0.2.1")


async def test_a_mailbox_is_verified_with_the_token_of_its_mail(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    token = await mail(ada, "verify_email")
    with await with_token(bob), pytest.raises(users.BadMailToken):
        await users.verify_email(users.VerifyEmail(token))
    await users.verify_email(users.VerifyEmail(token))
    with as_system():
        assert [user.email_verified for user in await users.get_users((ada.id, bob.id))] == [True, False]
    with await with_token(ada):
        await users.request_email_verification()
    with await with_token(bob):
        await users.request_email_verification()
    assert await events_of("EmailVerificationRequested") == [ada.id, bob.id, bob.id]


async def test_tokens_for_many_mailboxes_at_once(shop: Shop) -> None:
    ada, bob = await register(), await register("bob")
    asked = (
        users.MailTokenRequest(bob.id, "verify_email", "bob@example.com"),
        users.MailTokenRequest(new_id(), "reset_password"),
        users.MailTokenRequest(ada.id, "verify_email", "hers.no.more@example.com"),
        users.MailTokenRequest(ada.id, "reset_password"),
    )
    with as_system():
        bobs, nobodys, elsewhere, adas = await users.issue_mail_tokens(asked)
    assert (nobodys, elsewhere) == (None, None)
    assert bobs is not None
    assert adas is not None
    with pytest.raises(users.BadMailToken):
        await users.verify_email(users.VerifyEmail(adas))
    await users.verify_email(users.VerifyEmail(bobs))
    with as_system():
        assert [user.email_verified for user in await users.get_users((ada.id, bob.id))] == [False, True]
    await users.reset_password(users.ResetPassword(adas, "a new one, and a good one"))
    with as_user(ada.id, "admin"), pytest.raises(Forbidden):
        await users.issue_mail_tokens(asked)


async def test_only_the_mailer_gets_tokens(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id, "admin"), pytest.raises(Forbidden):
        await users.issue_token(ada.id, "reset_password")
    with as_system(), pytest.raises(NotFound):
        await users.issue_token(new_id(), "reset_password")
