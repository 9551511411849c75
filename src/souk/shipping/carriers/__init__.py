"""The carriers that this shop has set up, each behind the same seam."""

from functools import lru_cache

from souk.shipping.carriers.carrier import Carrier
from souk.shipping.carriers.easypost import EasyPost
from souk.shipping.carriers.manual import Manual
from souk.shipping.carriers.sandbox import Sandbox
from souk.shipping.settings import Settings, settings
from souk.shipping.types import CarrierUnknown


@lru_cache(maxsize=1)
def _set_up(now: Settings) -> dict[str, Carrier]:
    found: list[Carrier] = [Manual()]
    if now.sandbox_url:
        found.append(Sandbox(now))
    if now.easypost_api_key:
        found.append(EasyPost(now))
    return {carrier.name: carrier for carrier in found}


def find_carrier(name: str) -> Carrier:
    """A carrier; raises CarrierUnknown."""
    found = _set_up(settings.now).get(name)
    if found is None:
        raise CarrierUnknown
    return found


def usual_carrier() -> str:
    """Whose labels are bought if nobody says which: the one that is set, or the only one beside none, or none."""
    others = [name for name in _set_up(settings.now) if name != Manual.name]
    return settings.now.carrier or (others[0] if len(others) == 1 else Manual.name)
