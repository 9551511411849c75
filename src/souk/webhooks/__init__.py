"""Webhooks knows who outside wants to be told of what happens in the shop, at which address, and what became of telling them."""

from souk.webhooks.deliveries import (
    get_webhook_delivery,
    list_webhook_deliveries,
    retry_delivery,
    retry_failed_deliveries,
    send_test,
)
from souk.webhooks.subscribing import (
    change_webhook,
    create_webhook,
    get_webhook,
    list_event_types,
    list_webhooks,
    remove_webhook,
    rotate_webhook_secret,
)
from souk.webhooks.types import (
    DeliveryAttempt,
    DeliveryDetail,
    EventType,
    NewWebhook,
    OpenedWebhook,
    Retried,
    TooManySecrets,
    TooManyWebhooks,
    Webhook,
    WebhookChange,
    WebhookDelivery,
    WebhookInactive,
)

__all__ = [
    "DeliveryAttempt",
    "DeliveryDetail",
    "EventType",
    "NewWebhook",
    "OpenedWebhook",
    "Retried",
    "TooManySecrets",
    "TooManyWebhooks",
    "Webhook",
    "WebhookChange",
    "WebhookDelivery",
    "WebhookInactive",
    "change_webhook",
    "create_webhook",
    "get_webhook",
    "get_webhook_delivery",
    "list_event_types",
    "list_webhook_deliveries",
    "list_webhooks",
    "remove_webhook",
    "retry_delivery",
    "retry_failed_deliveries",
    "rotate_webhook_secret",
    "send_test",
]
