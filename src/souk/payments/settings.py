"""Which gateways a shop uses and how patient it is with them: SOUK_PAYMENTS_SANDBOX_URL and so on."""

import msgspec

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
    gateway_connect_s: float = 3.0
    gateway_timeout_s: float = 10.0
    gateway_in_flight: int = 100
    settle_after_s: float = 15.0  # an attempt whose outcome is unknown so long is looked up at the gateway

    @property
    def first_check_s(self) -> float:
        """Not before our own call to the gateway has ended, or it would be looked up while it is still on its way."""
        return max(self.settle_after_s, self.gateway_connect_s + self.gateway_timeout_s + 1.0)


settings = Section(Settings, "SOUK_PAYMENTS")
