"""Passwords: argon2id on a few threads of their own; bcrypt digests of another shop are accepted and replaced."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location
from typing import TypeVar

import bcrypt
import msgspec
from pwdlib.hashers.argon2 import Argon2Hasher

from souk.kit.errors import InvalidField
from souk.users.settings import settings
from souk.users.types import PASSWORD_LENGTH

T = TypeVar("T")

# bcrypt has never looked further, so a longer password was cut when the digest was made.
BCRYPT_BYTES = 72


def _read_common() -> frozenset[str]:
    """Those of zxcvbn's 30,000 passwords that are seen most in leaks which are long enough to be chosen here.

    Read out of the file and not imported: the library's other lists and its index of them would take 15 MB of every process.
    """
    spec = spec_from_file_location("frequency_lists", str(distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")))
    if spec is None or spec.loader is None:
        raise ImportError("zxcvbn has no frequency_lists.py any more")
    lists = module_from_spec(spec)
    spec.loader.exec_module(lists)
    return frozenset(word for word in lists.FREQUENCY_LISTS["passwords"] if len(word) >= PASSWORD_LENGTH)


# 11,600 of them (OWASP ASVS 5.0, 6.2.4 wants 3,000).
COMMON = _read_common()


class Verdict(msgspec.Struct, frozen=True):
    """Whether it is the password, and the digest to keep from now on if the present one is weaker than ours."""

    right: bool
    better_digest: str | None = None


async def make_digest(password: str) -> str:
    """The argon2id digest of a new password; raises InvalidField for one that everybody tries first."""
    refuse_common(password)
    return await _off_the_loop(lambda: _argon2().hash(password))


def refuse_common(password: str) -> None:
    """Raises InvalidField for a password that everybody tries first. Asked before an attempt is counted: it is none."""
    if password.lower() in COMMON:
        raise InvalidField("password", "is one of the most common passwords: choose another")


async def check_password(password: str, digest: str | None) -> Verdict:
    """Whether the digest is this password's. Without a digest the answer is no and takes as long as any other."""
    return await _off_the_loop(lambda: _check(password, digest))


def _check(password: str, digest: str | None) -> Verdict:
    argon2 = _argon2()
    if digest is not None and Argon2Hasher.identify(digest):
        right = argon2.verify(password, digest)
        return Verdict(right, argon2.hash(password) if right and argon2.check_needs_rehash(digest) else None)
    if digest is not None and digest.startswith("$2"):
        right = bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], digest.encode())
        return Verdict(right, argon2.hash(password) if right else None)
    argon2.hash(password)
    return Verdict(False)


def _argon2() -> Argon2Hasher:
    now = settings.now
    return Argon2Hasher(time_cost=now.password_rounds, memory_cost=now.password_memory_kib, parallelism=1)


async def _off_the_loop(work: Callable[[], T]) -> T:
    # A caller whose time is up takes its work out of the queue, so that the queue holds a few seconds of work at the most.
    return await asyncio.get_running_loop().run_in_executor(_threads(settings.now.password_threads), work)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "passwords")
