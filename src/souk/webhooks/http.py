"""Webhooks over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from souk.kit.http import SIGNED_IN, Cursor, Limit, Page, route
from souk.webhooks import deliveries, subscribing
from souk.webhooks.types import (
    DeliveryDetail,
    DeliveryStatus,
    EventType,
    NewWebhook,
    OpenedWebhook,
    Retried,
    RetryFailed,
    Webhook,
    WebhookChange,
    WebhookDelivery,
)

OfSeller = Annotated[UUID | None, QueryParameter(description="Of this seller account of yours; without it an admin gets the shop's own")]
OnlyStatus = Annotated[DeliveryStatus | None, QueryParameter(description="Only deliveries that wait, were delivered or have failed")]


@route("POST", "/webhooks", SIGNED_IN)
async def create_webhook(data: JSONBody[NewWebhook]) -> OpenedWebhook:
    """Be told of events at an address of yours. The secret is shown once. Send an Idempotency-Key to repeat it."""
    return await subscribing.create_webhook(data)


@route("GET", "/webhooks", SIGNED_IN)
async def list_webhooks(seller_id: OfSeller = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Webhook]:
    """Your webhooks, the newest first."""
    return await subscribing.list_webhooks(seller_id, limit, cursor)


@route("GET", "/webhooks/event-types", SIGNED_IN)
async def list_event_types() -> Page[EventType]:
    """The events that a webhook can be told of: `events` takes their names, `orders.*` or `*`."""
    return Page(await subscribing.list_event_types())


@route("GET", "/webhooks/{webhook_id:uuid}", SIGNED_IN)
async def get_webhook(webhook_id: FromPath[UUID]) -> Webhook:
    """How a webhook of yours stands."""
    return await subscribing.get_webhook(webhook_id)


@route("PATCH", "/webhooks/{webhook_id:uuid}", SIGNED_IN)
async def change_webhook(webhook_id: FromPath[UUID], data: JSONBody[WebhookChange]) -> Webhook:
    """Change the fields that are sent. `{"status": "active"}` goes on after a pause, or after it was disabled."""
    return await subscribing.change_webhook(webhook_id, data)


@route("DELETE", "/webhooks/{webhook_id:uuid}", SIGNED_IN)
async def remove_webhook(webhook_id: FromPath[UUID]) -> None:
    """Be told of nothing there any more."""
    await subscribing.remove_webhook(webhook_id)


@route("POST", "/webhooks/{webhook_id:uuid}/secret/rotate", SIGNED_IN, status_code=200)
async def rotate_webhook_secret(webhook_id: FromPath[UUID]) -> OpenedWebhook:
    """Sign with a new secret, which is shown once. The one before it signs along for 24 hours."""
    return await subscribing.rotate_webhook_secret(webhook_id)


@route("POST", "/webhooks/{webhook_id:uuid}/test", SIGNED_IN)
async def send_test(webhook_id: FromPath[UUID]) -> WebhookDelivery:
    """Send `webhooks.ping`, and try at once what waits before it."""
    return await deliveries.send_test(webhook_id)


@route("POST", "/webhooks/{webhook_id:uuid}/redeliver", SIGNED_IN, status_code=200)
async def retry_failed_deliveries(webhook_id: FromPath[UUID], data: JSONBody[RetryFailed]) -> Retried:
    """Send again what has failed since a time, up to 1000 deliveries at once."""
    return await deliveries.retry_failed_deliveries(webhook_id, data.since)


@route("GET", "/webhooks/{webhook_id:uuid}/deliveries", SIGNED_IN)
async def list_webhook_deliveries(
    webhook_id: FromPath[UUID], status: OnlyStatus = None, limit: Limit = 20, cursor: Cursor = None
) -> Page[WebhookDelivery]:
    """What a webhook of yours was told of, or is to be told of, the last in its queue first."""
    return await deliveries.list_webhook_deliveries(webhook_id, status, limit, cursor)


@route("GET", "/webhooks/{webhook_id:uuid}/deliveries/{delivery_id:uuid}", SIGNED_IN)
async def get_webhook_delivery(webhook_id: FromPath[UUID], delivery_id: FromPath[UUID]) -> DeliveryDetail:
    """A delivery with the body that is sent, and all attempts."""
    return await deliveries.get_webhook_delivery(webhook_id, delivery_id)


@route("POST", "/webhooks/{webhook_id:uuid}/deliveries/{delivery_id:uuid}/redeliver", SIGNED_IN, status_code=200)
async def retry_delivery(webhook_id: FromPath[UUID], delivery_id: FromPath[UUID]) -> WebhookDelivery:
    """Send one of them once more, with the id it had."""
    return await deliveries.retry_delivery(webhook_id, delivery_id)


routes: tuple[BaseRouteHandler, ...] = (
    create_webhook,
    list_webhooks,
    list_event_types,
    get_webhook,
    change_webhook,
    remove_webhook,
    rotate_webhook_secret,
    send_test,
    retry_failed_deliveries,
    list_webhook_deliveries,
    get_webhook_delivery,
    retry_delivery,
)
