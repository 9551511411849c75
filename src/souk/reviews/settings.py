"""What a shop may decide about its reviews: SOUK_REVIEWS_<FIELD>."""

from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section

Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Settings(msgspec.Struct, frozen=True):
    """Who may write, what a person looks at before it is shown, and how much one buyer may do.

    With `moderated` every review waits for an admin, and so does every change of one. One that has a blocked word always waits.
    """

    verified_only: bool = True
    purchase_days: Annotated[int, Meta(ge=1, le=36_500)] = 400
    arrives_days: Annotated[int, Meta(ge=0, le=90)] = 14
    moderated: bool = False
    blocked_words: tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...] = ()
    reports_to_queue: Count = 3
    reviews_per_day: Count = 30
    reports_per_day: Count = 30
    favorites: Count = 1000


settings = Section(Settings, "SOUK_REVIEWS")
