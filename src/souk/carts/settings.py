"""What a shop decides about its carts: SOUK_CARTS_GUEST_DAYS."""

from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section


class Settings(msgspec.Struct, frozen=True):
    """After how many days without a change a guest's cart is removed."""

    guest_days: Annotated[int, Meta(ge=1, le=3650)] = 30


settings = Section(Settings, "SOUK_CARTS")
