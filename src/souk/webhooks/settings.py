"""What a shop decides about its webhooks: SOUK_WEBHOOKS_<FIELD>, and where its secrets lie (SOUK_HOME)."""

from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section, find_secret

HOUR_S = 3600.0

Port = Annotated[int, Meta(ge=1, le=65_535)]
Pause = Annotated[float, Meta(gt=0, le=30 * 24 * HOUR_S)]


class Settings(msgspec.Struct, frozen=True):
    """How patient the shop is with endpoints, and where they may lie.

    `allow_private` is for development: private addresses, http and every port. The pauses are those that Standard Webhooks proposes.
    """

    allow_private: bool = False
    ports: tuple[Port, ...] = (443, 8443)
    per_owner: Annotated[int, Meta(ge=1, le=1000)] = 20
    connect_s: Annotated[float, Meta(gt=0, le=20)] = 3.0
    timeout_s: Annotated[float, Meta(gt=0, le=20)] = 10.0
    in_flight: Annotated[int, Meta(ge=4, le=1000)] = 100
    retries_s: tuple[Pause, ...] = (5.0, 300.0, 1800.0, *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24)))
    disable_after_days: Annotated[int, Meta(ge=1, le=365)] = 5
    kept_days: Annotated[int, Meta(ge=7, le=3650)] = 30


class Home(msgspec.Struct, frozen=True):
    """Where this shop keeps its data."""

    home: Path = Path(".souk")


settings = Section(Settings, "SOUK_WEBHOOKS")
place = Section(Home, "SOUK")


def shop_secret() -> bytes:
    """What the secrets of webhooks are sealed with: kept beside the shop's database, never in it."""
    return _find_secret(place.now.home)


@cache
def _find_secret(home: Path) -> bytes:
    return find_secret(home, "webhooks")
