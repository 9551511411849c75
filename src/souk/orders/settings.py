"""What a shop decides about its orders: SOUK_ORDERS_PAYMENT_WINDOW_S and so on."""

from typing import Annotated

import msgspec

from souk.kit.config import Section


class Settings(msgspec.Struct, frozen=True):
    """How long an order waits for its payment, and how long goods are taken back where no policy says otherwise."""

    payment_window_s: int = 15 * 60
    return_window_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 30


settings = Section(Settings, "SOUK_ORDERS")
