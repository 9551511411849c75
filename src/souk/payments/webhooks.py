"""Webhooks of gateways and the bank: taken once, if the sender signed them, and checked against our books."""

from souk.kit.calls import exposed
from souk.kit.errors import Unavailable
from souk.payments.banks import find_bank
from souk.payments.gateways import find_gateway
from souk.payments.gateways.gateway import Silent, Unreachable
from souk.payments.news import tell
from souk.payments.paying_out import hear_bank
from souk.payments.types import Webhook, WebhookReceipt


@exposed(timeout=10.0)
async def receive_webhook(webhook: Webhook) -> WebhookReceipt:
    """Apply what a gateway or the bank tells us. Told again it changes nothing, and the order in which things are told does not matter.

    What contradicts our books is kept for a person to look at and has no effect. Raises GatewayUnknown, and WebhookForged for a
    message that the gateway did not sign within the last five minutes.
    """
    bank = find_bank()
    if bank is not None and bank.name == webhook.gateway:
        return WebhookReceipt(await hear_bank(bank, webhook))
    gateway = find_gateway(webhook.gateway)
    try:
        news = await gateway.read_webhook(webhook.headers, webhook.body)
    except (Silent, Unreachable) as silence:
        raise Unavailable(f"{webhook.gateway} does not say whether it sent this") from silence
    return WebhookReceipt(await tell(news))
