"""What a shop decides about its messages: SOUK_NOTIFICATIONS_SMTP_HOST and so on."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from souk.kit.config import Section, find_secret
from souk.kit.schedules import check_times

# A letter is written, and waits for a conversation, within this time; opening that and three commands take smtp_timeout_s each.
WRITING_S = 15.0

Security = Literal["none", "starttls", "tls"]


class Settings(msgspec.Struct, frozen=True):
    """Who writes, through which relays and providers, in which words, and how patiently."""

    shop_name: str = "Souk"
    public_url: str = "http://127.0.0.1:8000"
    language: str = "en"
    templates: str = ""

    from_address: str = "shop@localhost"
    bounce_domain: str = ""  # of the envelope's sender; empty means that of from_address
    smtp_host: str = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65535)] = 25
    smtp_security: Security = "none"
    smtp_username: str = ""
    smtp_password: str = ""
    smtp_fallback: tuple[str, ...] = ()  # host:port of relays that are asked when the first has been down for a while
    smtp_fallback_after_s: float = 120.0
    smtp_connections: Annotated[int, Meta(ge=1, le=100)] = 8
    smtp_letters: Annotated[int, Meta(ge=1)] = 1_000  # on one connection
    smtp_timeout_s: float = 30.0
    smtp_answer_timeout_s: float = 600.0  # for the answer to the letter itself (RFC 5321, 4.5.3.2.6)
    smtp_verify: bool = True  # whether the relay has to prove who it is
    dkim_domain: str = ""
    dkim_selector: str = "souk"
    dkim_key: str = ""  # a file with an RSA key in PEM

    smtp_is_sandbox: bool = False  # the relay is the sandbox's post: what it has taken stands in its book
    sandbox_url: str = ""
    sandbox_api_key: str = ""
    sandbox_webhook_secrets: tuple[str, ...] = ()
    webhook_secrets: tuple[str, ...] = ()  # of a provider that tells of bounces as Standard Webhooks

    recommendations: bool = True
    recommendations_at: str = "0 9 * * 4"  # by the shop's clock; once a week at the most
    recommendations_most: Annotated[int, Meta(ge=1, le=20)] = 6  # products in a letter
    recommendations_weeks: Annotated[int, Meta(ge=1, le=26)] = 8  # for how long nothing is recommended that was bought, or recommended

    batch: Annotated[int, Meta(ge=1, le=1_000)] = 200
    batches: Annotated[int, Meta(ge=1, le=16)] = 3
    retry_after_s: float = 60.0  # the first pause; each one is twice as long, up to six hours
    orphan_grace_s: float = 0.0  # 0: as long as a conversation may last
    alert_quiet_s: Annotated[float, Meta(ge=0)] = 300.0  # of which nobody tells for so long is over

    def __post_init__(self) -> None:
        check_times(self.recommendations_at)

    @property
    def from_domain(self) -> str:
        return self.from_address.rpartition("@")[2].rstrip(">")


    @property
    def grace_s(self) -> float:
        """For how long a letter may be on its way after it was claimed: written, waiting, carried, and the relay still at work on it."""
        return self.orphan_grace_s or WRITING_S + 4 * self.smtp_timeout_s + self.smtp_answer_timeout_s


class Place(msgspec.Struct, frozen=True):
    """Where the shop keeps its secrets: SOUK_HOME."""

    home: Path = Path(".souk")


settings = Section(Settings, "SOUK_NOTIFICATIONS")
place = Section(Place, "SOUK")


def find_key() -> bytes:
    """What links, envelopes and suppressed addresses are signed and hidden with."""
    return _find_key(place.now.home)


@cache
def _find_key(home: Path) -> bytes:
    return find_secret(home, "notifications_key")
