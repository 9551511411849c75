"""What a shop may set about its users: SOUK_USERS_<FIELD>, and where its secrets lie (SOUK_HOME)."""

from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section, find_secret

Days = Annotated[int, Meta(ge=1, le=3650)]


class Settings(msgspec.Struct, frozen=True):
    """The knobs of users. The argon2id parameters are OWASP's (2 rounds over 19 MiB)."""

    password_rounds: Annotated[int, Meta(ge=1, le=100)] = 2
    password_memory_kib: Annotated[int, Meta(ge=8, le=4 * 1024 * 1024)] = 19 * 1024
    password_threads: Annotated[int, Meta(ge=1, le=64)] = 2
    access_token_s: Annotated[int, Meta(ge=30, le=3600)] = 600
    refresh_grace_s: Annotated[int, Meta(ge=0, le=60)] = 10
    session_idle_days: Days = 30
    session_days: Days = 365
    signing_key_days: Days = 30
    activity_days: Annotated[int, Meta(ge=1, le=36_500)] = 400
    attempts: Annotated[int, Meta(ge=1)] = 10
    attempts_window_s: Annotated[int, Meta(ge=1, le=86400)] = 900
    trusted_proxies: Annotated[int, Meta(ge=0, le=10, description="Reverse proxies of ours that add to X-Forwarded-For")] = 0


class Home(msgspec.Struct, frozen=True):
    """Where this shop keeps its data."""

    home: Path = Path(".souk")


settings = Section(Settings, "SOUK_USERS")
place = Section(Home, "SOUK")


def shop_secret() -> bytes:
    """What signing keys are sealed and addresses hashed with: kept beside the shop's database, never in it."""
    return _find_secret(place.now.home)


@cache
def _find_secret(home: Path) -> bytes:
    return find_secret(home, "users_signing_key")
