"""The carriers that this shop has set up, by their channel."""

from collections.abc import Mapping
from functools import lru_cache

from souk.notifications.channels.channel import Carrier
from souk.notifications.channels.email import Email
from souk.notifications.channels.sandbox import PostBook, Texts
from souk.notifications.settings import Settings, settings
from souk.notifications.types import Channel


@lru_cache(maxsize=1)
def _set_up(now: Settings) -> Mapping[Channel, Carrier]:
    found: dict[Channel, Carrier] = {}
    if now.smtp_host:
        found["email"] = Email(now, PostBook(now) if now.smtp_is_sandbox else None)
    if now.sandbox_url:
        found["sms"] = Texts("sms", now)
        found["push"] = Texts("push", now)
    return found


def find_carrier(channel: Channel) -> Carrier | None:
    """Who carries what leaves on a channel; None if the shop has nobody for that."""
    return _set_up(settings.now).get(channel)


def find_book() -> PostBook | None:
    """The book of who takes the shop's letters; None if there is none that we can read."""
    return PostBook(settings.now) if settings.now.sandbox_url else None


def booked_channels() -> tuple[Channel, ...]:
    """The channels on which what was taken stands in that book."""
    return ("email", "sms", "push") if settings.now.smtp_is_sandbox else ("sms", "push")
