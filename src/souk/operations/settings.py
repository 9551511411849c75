"""From when on something is an alert: SOUK_WATCH_LAG_S and so on."""

from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section

Seconds = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Settings(msgspec.Struct, frozen=True):
    """How often a process looks at itself, and what it takes for trouble; rules for Prometheus are written out of the same."""

    every_s: Annotated[float, Meta(ge=0.1)] = 10.0
    patience_s: Seconds = 60.0  # for how long it has to last, where it may be over by itself
    lag_s: Seconds = 60.0
    error_share: Share = 0.05
    error_requests: Annotated[int, Meta(ge=1)] = 50  # fewer say nothing
    error_window_s: Annotated[float, Meta(ge=1)] = 300.0
    disk_share: Share = 0.05
    disk_gib: Annotated[float, Meta(ge=0)] = 1.0
    database_gib: Annotated[float, Meta(ge=0)] = 0.0  # 0: as large as it will


settings = Section(Settings, "SOUK_WATCH")
