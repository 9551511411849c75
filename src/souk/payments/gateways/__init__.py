"""The payment providers that this shop has set up, each behind the same seam."""

from functools import lru_cache

from souk.payments.gateways.gateway import Gateway
from souk.payments.gateways.paypal import PayPal
from souk.payments.gateways.sandbox import APP, CARD, Sandbox
from souk.payments.settings import Settings, settings
from souk.payments.types import GatewayUnknown


@lru_cache(maxsize=1)
def _set_up(now: Settings) -> dict[str, Gateway]:
    found: list[Gateway] = []
    if now.sandbox_url:
        found += [Sandbox(CARD, now), Sandbox(APP, now)]
    if now.stripe_secret_key:
        # Its library takes 6 MB of every process that imports it.
        from souk.payments.gateways.stripe import Stripe  # noqa: PLC0415

        found.append(Stripe(now))
    if now.paypal_client_id:
        found.append(PayPal(now))
    return {gateway.name: gateway for gateway in found}


def gateways() -> dict[str, Gateway]:
    """Every provider that the settings name, by its name."""
    return _set_up(settings.now)


def find_gateway(name: str) -> Gateway:
    """A provider; raises GatewayUnknown."""
    found = gateways().get(name)
    if found is None:
        raise GatewayUnknown
    return found
