"""Passwords are hashed with argon2id; the digests of another shop are accepted once, and replaced."""

import asyncio
import time

import bcrypt
import pytest
from tests.users.people import PASSWORD

from souk.users.passwords import check_password, make_digest
from souk.users.settings import Settings, settings

LONG = "pass" * 40


async def test_a_digest_knows_its_password_and_no_other() -> None:
    digest = await make_digest(PASSWORD)
    assert digest.startswith("$argon2id$")
    assert await make_digest(PASSWORD) != digest
    right, wrong = await check_password(PASSWORD, digest), await check_password(PASSWORD + " ", digest)
    assert (right.right, right.better_digest) == (True, None)
    assert not wrong.right


async def test_the_parameters_are_those_of_owasp() -> None:
    wanted = Settings()
    settings.replace(password_rounds=wanted.password_rounds, password_memory_kib=wanted.password_memory_kib)
    assert (await make_digest(PASSWORD)).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_a_weak_digest_is_replaced_when_the_password_is_given() -> None:
    weak = await make_digest(PASSWORD)
    settings.replace(password_rounds=2)
    verdict = await check_password(PASSWORD, weak)
    assert verdict.right
    assert verdict.better_digest is not None
    assert (await check_password(PASSWORD, verdict.better_digest)).better_digest is None
    assert (await check_password("another password", weak)).better_digest is None


@pytest.mark.parametrize("password", [PASSWORD, LONG])
async def test_a_bcrypt_digest_is_accepted_and_replaced(password: str) -> None:
    digest = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    verdict = await check_password(password, digest)
    assert verdict.right
    assert str(verdict.better_digest).startswith("$argon2id$")
    assert not (await check_password("x" + password, digest)).right


async def test_a_long_password_is_not_cut() -> None:
    digest = await make_digest(LONG + "a")
    assert not (await check_password(LONG + "b", digest)).right


async def test_no_digest_takes_as_long_as_a_wrong_password() -> None:
    settings.replace(password_rounds=20, password_memory_kib=4096)
    digest = await make_digest(PASSWORD)

    async def time_of(stored: str | None) -> float:
        """That of this process' processors: whoever else uses them has no part in it."""
        began = time.process_time()
        assert not (await check_password("wrong password", stored)).right
        return time.process_time() - began

    known, unknown = [], []
    for _ in range(7):
        known.append(await time_of(digest))
        unknown.append(await time_of(None))
    assert 0.5 < min(known) / min(unknown) < 2


async def test_hashing_does_not_hold_up_the_loop() -> None:
    settings.replace(password_rounds=20, password_memory_kib=19456)
    work = asyncio.gather(*(make_digest(PASSWORD) for _ in range(4)))
    longest = 0.0
    while not work.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - began)
    assert longest < 0.5
