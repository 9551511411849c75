"""Which gateways and which bank a shop uses, how patient it is with them, and when it pays sellers: SOUK_PAYMENTS_SANDBOX_URL and so on."""

from typing import Annotated

import msgspec
from msgspec import Meta

from souk.kit.config import Section


class Settings(msgspec.Struct, frozen=True):
    """A gateway is offered when it has what it needs: an address, keys, the secrets of its webhooks (several while one is rotated)."""

    test_gateway: bool = False
    sandbox_url: str = ""
    sandbox_api_key: str = ""
    sandbox_webhook_secrets: tuple[str, ...] = ()
    stripe_secret_key: str = ""
    stripe_public_key: str = ""
    stripe_webhook_secrets: tuple[str, ...] = ()
    stripe_url: str = "https://api.stripe.com"
    paypal_url: str = "https://api-m.paypal.com"
    paypal_client_id: str = ""
    paypal_secret: str = ""
    paypal_webhook_id: str = ""
    sandbox_bank_url: str = ""
    payout_every_s: Annotated[float, Meta(gt=0)] = 86_400.0
    payout_minimum: Annotated[int, Meta(ge=1)] = 1_000  # in minor units of whichever currency
    payout_delay_s: float = 0.0  # between earning and being paid out, for goods that may come back
    payout_change_delay_s: float = 86_400.0  # after a seller's payout account was changed
    gateway_connect_s: float = 3.0
    gateway_timeout_s: float = 10.0
    gateway_in_flight: int = 100
    settle_after_s: float = 15.0  # an attempt whose outcome is unknown so long is looked up at the gateway
    longest_hold_days: int = 90  # for how long money of a wallet can be set aside at the most

    @property
    def first_check_s(self) -> float:
        """Not before our own call to the gateway has ended, or it would be looked up while it is still on its way."""
        return max(self.settle_after_s, self.gateway_connect_s + self.gateway_timeout_s + 1.0)


settings = Section(Settings, "SOUK_PAYMENTS")
