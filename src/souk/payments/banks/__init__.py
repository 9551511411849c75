"""The bank through which this shop pays its sellers, if one is set up."""

from functools import lru_cache

from souk.payments.banks.bank import Bank
from souk.payments.banks.sandbox import SandboxBank
from souk.payments.settings import Settings, settings


@lru_cache(maxsize=1)
def _set_up(now: Settings) -> Bank | None:
    return SandboxBank(now) if now.sandbox_bank_url else None


def find_bank() -> Bank | None:
    """The bank that the settings name; None in a shop that pays nobody out."""
    return _set_up(settings.now)
