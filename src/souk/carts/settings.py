"""What a shop decides about its carts: SOUK_CARTS_GUEST_DAYS, SOUK_CARTS_ABANDONED_HOURS."""

from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section


class Settings(msgspec.Struct, frozen=True):
    """After how many days without a change a guest's cart is removed; after how many hours a user's counts as abandoned (0: never)."""

    guest_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    abandoned_hours: Annotated[int, Meta(ge=0, le=720)] = 4


settings = Section(Settings, "SOUK_CARTS")
