"""What a shop decides about its orders: SOUK_ORDERS_COMMISSION_PPM and so on."""

import msgspec

from souk.kit.config import Section


class Settings(msgspec.Struct, frozen=True):
    """Commission in millionths of what the buyer pays for the goods; how long an order waits for its payment."""

    commission_ppm: int = 100_000
    payment_window_s: int = 15 * 60


settings = Section(Settings, "SOUK_ORDERS")
