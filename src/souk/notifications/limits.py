"""How much somebody is told at the most, and for how long it is known: SOUK_NOTIFICATIONS_SERVICE_PER_HOUR and so on."""

from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section

Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Limits(msgspec.Struct, frozen=True):
    """Letters to one person on one channel in any hour or day, wherever it begins; what is mandatory is not counted.

    A seller writes so often to the buyer of an order in a day, and so often to all buyers in an hour. A price has dropped if it is lower
    than it ever was in so many days before. Feeds are kept for so many days, and what became of messages for so many.
    """

    service_per_hour: Count = 60
    promotions_per_day: Count = 3
    messages_per_order: Count = 10
    messages_per_seller: Count = 200
    feed_days: Annotated[int, Meta(ge=30, le=36_500)] = 180
    history_days: Annotated[int, Meta(ge=30, le=36_500)] = 400
    price_drop_days: Annotated[int, Meta(ge=1, le=366)] = 30


limits = Section(Limits, "SOUK_NOTIFICATIONS")
