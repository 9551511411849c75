"""Which carriers a shop uses, and how it prints labels and follows parcels: SOUK_SHIPPING_SANDBOX_URL and so on."""

import msgspec

from souk.kit.config import Section
from souk.kit.lines import Patience


class Settings(msgspec.Struct, frozen=True):
    """A carrier is offered when it has what it needs: an address, keys, the secrets of its webhooks (several while one is rotated).

    Fonts are TrueType files, tried in this order for characters that Noto Sans does not have.
    """

    carrier: str = ""  # whose labels are bought if nobody says which
    sandbox_url: str = ""
    sandbox_api_key: str = ""
    sandbox_webhook_secrets: tuple[str, ...] = ()
    easypost_api_key: str = ""
    easypost_webhook_secrets: tuple[str, ...] = ()
    easypost_url: str = "https://api.easypost.com"
    carrier_connect_s: float = 3.0
    carrier_timeout_s: float = 10.0
    carrier_in_flight: int = 50
    track_every_s: float = 900.0  # where a parcel is that has just left; the pauses grow from then on
    deliver_by_tracking: bool = True  # a parcel that its carrier says it has delivered is delivered
    label_fonts: tuple[str, ...] = ()

    @property
    def patience(self) -> Patience:
        """With a carrier."""
        return Patience(self.carrier_connect_s, self.carrier_timeout_s, self.carrier_in_flight)

    @property
    def first_check_s(self) -> float:
        """Not before our own calls to the carrier have ended, or it would be asked again while it is being asked: five at the most."""
        return 5 * (self.carrier_connect_s + self.carrier_timeout_s) + 1.0


settings = Section(Settings, "SOUK_SHIPPING")
