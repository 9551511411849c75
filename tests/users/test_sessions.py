"""Who signs in gets tokens; a refresh token works once; what is signed out or stolen is void."""

import asyncio
import time
from datetime import timedelta

import pytest
from tests.caches import CacheServer
from tests.users.people import ELSEWHERE, HOME, PASSWORD, events_of, read_token, register, sign_in, with_token
from tests.waiting import until

from souk import users
from souk.app import Shop
from souk.kit.errors import TooMany, Unauthenticated
from souk.users import sessions, throttling
from souk.users.database import db
from souk.users.settings import settings


async def refresh(token: str) -> users.Tokens:
    return await users.refresh_session(users.Refresh(token))


async def let_time_pass(seconds: float) -> None:
    """Everything that is kept of sessions and attempts happened so much earlier."""
    async with db.transaction() as tx:
        for change in (
            "UPDATE users.refresh_token SET spent_at = spent_at - $1::interval",
            "UPDATE users.session SET expires_at = expires_at - $1::interval, created_at = created_at - $1::interval",
            "UPDATE users.attempt SET updated_at = updated_at - $1::interval,"
            " tried_at = array(SELECT t - $1::interval FROM unnest(tried_at) AS t)",
        ):
            await tx.run(change, timedelta(seconds=seconds))


async def guess(name: str = "ada", address: str = ELSEWHERE) -> str:
    """What a guess at the password is answered with."""
    try:
        await sign_in(name, "a wrong password", address)
    except (users.WrongCredentials, TooMany) as refusal:
        return refusal.code
    return "let in"


async def test_a_password_opens_sessions(shop: Shop) -> None:
    ada = await register()
    first, second = await sign_in(), await sign_in()
    assert (first.token_type, first.expires_in) == ("Bearer", 600)
    one, two = await read_token(first.access_token), await read_token(second.access_token)
    assert one.user_id == two.user_id == ada.id
    assert one.session_id != two.session_id


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(shop: Shop) -> None:
    await register()
    with pytest.raises(users.WrongCredentials) as wrong:
        await sign_in("ada", "a wrong password")
    with pytest.raises(users.WrongCredentials) as unknown:
        await sign_in("nobody", "a wrong password")
    assert (str(wrong.value), wrong.value.values()) == (str(unknown.value), unknown.value.values())


async def test_the_time_of_the_answer_does_not_say_who_is_known(shop: Shop) -> None:
    settings.replace(password_rounds=20, password_memory_kib=1024, attempts=1000)
    await register()

    async def time_of(name: str) -> float:
        began = time.perf_counter()
        assert await guess(name) == "users.wrong_credentials"
        return time.perf_counter() - began

    known, unknown = [], []
    for _ in range(15):
        known.append(await time_of("ada"))
        unknown.append(await time_of("nobody"))
    assert 0.6 < sorted(known)[7] / sorted(unknown)[7] < 1.6


async def test_a_refresh_token_works_once_and_the_next_one_goes_on(shop: Shop) -> None:
    tokens = await sign_in_new()
    seen = {tokens.refresh_token}
    for _ in range(5):
        tokens = await refresh(tokens.refresh_token)
        seen.add(tokens.refresh_token)
        await read_token(tokens.access_token)
    assert len(seen) == 6


async def test_only_hashes_of_refresh_tokens_are_kept(shop: Shop) -> None:
    tokens = await sign_in_new()
    assert await db.value("SELECT count(*) FROM users.refresh_token WHERE token_hash = $1", tokens.refresh_token.encode()) == 0
    assert await db.value("SELECT count(*) FROM users.refresh_token WHERE token_hash = $1", sessions.hash_token(tokens.refresh_token)) == 1


async def test_two_parallel_refreshes_are_both_answered_and_nobody_is_signed_out(shop: Shop) -> None:
    await register()
    for _ in range(10):
        tokens = await sign_in()
        one, two = await asyncio.gather(refresh(tokens.refresh_token), refresh(tokens.refresh_token))
        assert one.refresh_token != two.refresh_token
        await let_time_pass(60)
        await refresh((await refresh(one.refresh_token)).refresh_token)


async def test_a_spent_token_that_comes_again_ends_the_session_with_all_of_its_tokens(shop: Shop) -> None:
    ada = await register()
    other = await sign_in()
    stolen = await sign_in()
    fresh = await refresh(stolen.refresh_token)
    await let_time_pass(11)
    with pytest.raises(users.SessionOver):
        await refresh(stolen.refresh_token)
    with pytest.raises(users.SessionOver):
        await refresh(fresh.refresh_token)
    for token in (stolen.access_token, fresh.access_token):
        with pytest.raises(Unauthenticated):
            await read_token(token)
    await refresh(other.refresh_token)
    await read_token(other.access_token)
    assert await events_of("SessionsRevoked") == [ada.id]


async def test_a_thief_who_was_as_quick_as_the_owner_is_found_out_by_the_next_refresh(shop: Shop) -> None:
    tokens = await sign_in_new()
    owner, thief = await asyncio.gather(refresh(tokens.refresh_token), refresh(tokens.refresh_token))
    await let_time_pass(600)
    owner = await refresh(owner.refresh_token)
    await let_time_pass(600)
    with pytest.raises(users.SessionOver):
        await refresh(thief.refresh_token)
    with pytest.raises(users.SessionOver):
        await refresh(owner.refresh_token)


async def test_a_storm_of_a_spent_token_is_refused_every_time(shop: Shop) -> None:
    tokens = await sign_in_new()
    await refresh(tokens.refresh_token)
    await let_time_pass(11)
    answers = await asyncio.gather(*(refresh(tokens.refresh_token) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(answer, users.SessionOver) for answer in answers)


async def test_an_unknown_token_is_refused(shop: Shop) -> None:
    for token in ("x", "null", "undefined", (await sign_in_new()).access_token):
        with pytest.raises(users.SessionOver):
            await refresh(token)


async def test_a_session_ends_when_nobody_uses_it_and_lives_while_somebody_does(shop: Shop) -> None:
    idle, busy = await sign_in_new(), await sign_in()
    for _ in range(4):
        await let_time_pass(20 * 86400)
        busy = await refresh(busy.refresh_token)
    with pytest.raises(users.SessionOver):
        await refresh(idle.refresh_token)


async def test_no_session_lives_longer_than_a_year(shop: Shop) -> None:
    tokens = await sign_in_new()
    for _ in range(18):
        await let_time_pass(20 * 86400)
        tokens = await refresh(tokens.refresh_token)
    await let_time_pass(20 * 86400)
    with pytest.raises(users.SessionOver):
        await refresh(tokens.refresh_token)


async def test_signing_out_voids_both_tokens_and_no_other_session(shop: Shop) -> None:
    here, there = await sign_in_new(), await sign_in()
    with await with_token(here):
        await users.close_session(users.Logout())
        await users.close_session(users.Logout())
    with pytest.raises(Unauthenticated):
        await read_token(here.access_token)
    with pytest.raises(users.SessionOver):
        await refresh(here.refresh_token)
    await read_token(there.access_token)
    await refresh(there.refresh_token)


async def test_a_refresh_token_is_enough_to_sign_out(shop: Shop) -> None:
    tokens = await sign_in_new()
    await users.close_session(users.Logout(tokens.refresh_token))
    with pytest.raises(Unauthenticated):
        await read_token(tokens.access_token)
    await users.close_session(users.Logout("unknown"))
    with pytest.raises(Unauthenticated):
        await users.close_session(users.Logout())


async def test_another_users_session_cannot_be_closed(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    with await with_token(bob):
        await users.close_session(users.Logout(ada.refresh_token))
    await read_token(ada.access_token)
    await refresh(ada.refresh_token)


async def test_signing_out_everywhere_ends_every_session(shop: Shop) -> None:
    here, there = await sign_in_new(), await sign_in()
    with await with_token(here):
        await users.close_session(users.Logout(everywhere=True))
    for tokens in (here, there):
        with pytest.raises(Unauthenticated):
            await read_token(tokens.access_token)
        with pytest.raises(users.SessionOver):
            await refresh(tokens.refresh_token)
    await read_token((await sign_in()).access_token)


async def test_ten_guesses_at_an_account_in_fifteen_minutes_and_no_more(shop: Shop) -> None:
    await register()
    answers = await asyncio.gather(*(guess(address=f"198.51.100.{turn}") for turn in range(60)))
    assert answers.count("users.wrong_credentials") == 10
    assert answers.count("too_many_requests") == 50
    await let_time_pass(60)
    with pytest.raises(TooMany) as refused:
        await sign_in("ada", PASSWORD, ELSEWHERE)
    assert 0 < refused.value.retry_after_s <= 840
    await let_time_pass(840)
    assert await guess() == "users.wrong_credentials"


async def test_an_unknown_account_is_throttled_alike(shop: Shop) -> None:
    assert [await guess("nobody", f"198.51.100.{turn}") for turn in range(11)] == ["users.wrong_credentials"] * 10 + ["too_many_requests"]


async def test_ten_failures_from_an_address_at_whatever_accounts(shop: Shop) -> None:
    await register()
    assert [await guess(f"user{turn}") for turn in range(11)] == ["users.wrong_credentials"] * 10 + ["too_many_requests"]
    assert await guess("ada", HOME) == "users.wrong_credentials"


async def test_a_stranger_cannot_lock_the_owner_out_of_where_they_were(shop: Shop) -> None:
    await register(address=HOME)
    for turn in range(12):
        await guess(address=f"198.51.100.{turn}")
    with pytest.raises(TooMany):
        await sign_in(address=ELSEWHERE)
    await sign_in(address=HOME)


async def test_who_signs_in_does_not_use_up_attempts(shop: Shop) -> None:
    await register(address=ELSEWHERE)
    for _ in range(15):
        await sign_in(address=HOME)


def test_a_home_of_ipv6_is_one_address() -> None:
    same = {throttling.hash_address(f"2001:db8:0:7{last}") for last in ("::1", "::ffff", ":a:b:c:d")}
    assert len(same) == 1
    assert throttling.hash_address("2001:db8:0:8::1") not in same
    assert throttling.hash_address("::ffff:203.0.113.7") == throttling.hash_address("203.0.113.7") != throttling.hash_address("203.0.113.8")
    assert throttling.hash_address("") == throttling.hash_address("")


async def test_what_is_long_over_is_forgotten(shop: Shop) -> None:
    tokens = await sign_in_new()
    await refresh(tokens.refresh_token)
    await guess()
    assert (await sessions.forget_sessions(), await throttling.forget_attempts()) == (0, 0)
    await let_time_pass(1000)
    assert await throttling.forget_attempts() > 0
    await let_time_pass(70 * 86400)
    assert await sessions.forget_sessions() == 2
    assert await db.value("SELECT count(*) FROM users.refresh_token") == 0


async def sign_in_new() -> users.Tokens:
    """Ada's first session."""
    await register(address=ELSEWHERE)
    return await sign_in()


async def test_whoever_is_refused_is_refused_by_every_process_without_a_look_at_the_table(shop: Shop, valkey: CacheServer) -> None:
    await register()
    answers = await asyncio.gather(*(guess(address=f"198.51.100.{turn}") for turn in range(20)))
    assert answers.count("users.wrong_credentials") == 10

    async def is_known() -> bool:
        await guess()
        return bool(valkey.keys("souk:refused:*"))

    await until(is_known)
    connection = await db.pool.acquire()
    async with connection.transaction():
        await connection.execute("LOCK TABLE users.attempt IN ACCESS EXCLUSIVE MODE")
        assert await guess() == "too_many_requests"
    await db.pool.release(connection)
    # What the cache knows lets nobody through, and what it has lost lets nobody through either.
    for spoil in (valkey.client().flushall, valkey.kill):
        spoil()
        assert await guess() == "too_many_requests"
    await register("bob")
    assert await guess("bob") == "users.wrong_credentials"
