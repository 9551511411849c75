"""What became of the events that a webhook was to be told of; sending them once more, or one that tells of nothing."""

from datetime import datetime
from uuid import UUID

from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.webhooks.database import db
from souk.webhooks.queueing import news, queue_ping
from souk.webhooks.subscribing import get_webhook, lock_own
from souk.webhooks.types import (
    DeliveryAttempt,
    DeliveryDetail,
    DeliveryStatus,
    Retried,
    Webhook,
    WebhookDelivery,
    WebhookInactive,
)

SHOWN = "event_id AS id, webhook_id, type, status, attempts, settled_at, created_at, updated_at"
FIND = f"SELECT {SHOWN} FROM webhooks.delivery WHERE webhook_id = $1 AND event_id = $2"
FIND_BODY = "SELECT payload FROM webhooks.delivery WHERE webhook_id = $1 AND event_id = $2"
FIND_ATTEMPTS = """
    SELECT number, status, error, duration_ms, answer, created_at FROM webhooks.attempt
    WHERE webhook_id = $1 AND event_id = $2 ORDER BY number LIMIT 1000
"""
LIST = f"""
    SELECT {SHOWN}, place FROM webhooks.delivery
    WHERE webhook_id = $1 AND place < $2 AND ($3::text IS NULL OR status = $3) ORDER BY place DESC LIMIT $4
"""
# Of a webhook whose row is locked: what is sent again comes behind all that waits, in the order in which it was first to be sent.
RETRY = """
    WITH again AS (
        SELECT event_id, row_number() OVER (ORDER BY place) AS behind FROM (
            SELECT event_id, place FROM webhooks.delivery
            WHERE webhook_id = $1 AND CASE WHEN $2::uuid IS NULL THEN status = 'failed' AND created_at >= $3 ELSE event_id = $2 END
              AND status <> 'waiting'
            ORDER BY place LIMIT $4
        ) AS chosen
    ), moved AS (
        UPDATE webhooks.delivery AS d SET
            status = 'waiting', tries = 0, settled_at = NULL, updated_at = now(), place = a.behind
                + (SELECT last_place FROM webhooks.webhook WHERE id = $1)
        FROM again AS a WHERE d.webhook_id = $1 AND d.event_id = a.event_id
        RETURNING d.event_id
    )
    UPDATE webhooks.webhook SET last_place = last_place + (SELECT count(*) FROM moved), due_at = now()
    WHERE id = $1 RETURNING (SELECT count(*) FROM moved)
"""

MOST_AT_ONCE = 1000
LAST_PLACE = 2**63 - 1


class _Listed(WebhookDelivery, frozen=True, kw_only=True):
    place: int


@exposed()
async def list_webhook_deliveries(
    webhook_id: UUID, status: DeliveryStatus | None, limit: int, cursor: str | None
) -> Page[WebhookDelivery]:
    """What a webhook was told of, or is to be told of, the last in its queue first. Changes nothing.

    Raises NotFound, also for another's.
    """
    await get_webhook(webhook_id)
    (before,) = read_cursor(cursor, tuple[int]) or (LAST_PLACE,)
    page = make_page(await db.search(_Listed, LIST, webhook_id, before, status, limit + 1), limit, lambda row: (row.place,))
    return Page(tuple(show(row) for row in page.items), page.next)


@exposed()
async def get_webhook_delivery(webhook_id: UUID, delivery_id: UUID) -> DeliveryDetail:
    """A delivery with the body that is sent and all its attempts. Changes nothing; raises NotFound, also for another's."""
    await get_webhook(webhook_id)
    found = await db.maybe(WebhookDelivery, FIND, webhook_id, delivery_id)
    if found is None:
        raise NotFound
    body = await db.value(FIND_BODY, webhook_id, delivery_id)
    return DeliveryDetail(found, body, await db.all(DeliveryAttempt, FIND_ATTEMPTS, webhook_id, delivery_id))


@exposed()
async def retry_delivery(webhook_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Send what was delivered, or has failed, once more, with the id it had; what waits already is tried at once.

    Without an Idempotency-Key each call sends it. Raises NotFound, also for another's, and WebhookInactive.
    """

    async def retry(tx: Transaction) -> WebhookDelivery:
        require_active(await lock_own(tx, webhook_id))
        if await tx.maybe(WebhookDelivery, FIND, webhook_id, delivery_id) is None:
            raise NotFound
        await move_behind(tx, webhook_id, delivery_id, None)
        return await tx.one(WebhookDelivery, FIND, webhook_id, delivery_id)

    return await once(db, (webhook_id, delivery_id), retry)


@exposed()
async def retry_failed_deliveries(webhook_id: UUID, since: datetime) -> Retried:
    """Send what has failed since a time once more, in its order, up to 1000 at a time; how many. Again it sends those that are left.

    Raises NotFound, also for another's, and WebhookInactive.
    """
    async with db.transaction() as tx:
        require_active(await lock_own(tx, webhook_id))
        return Retried(await move_behind(tx, webhook_id, None, since))


@exposed()
async def send_test(webhook_id: UUID) -> WebhookDelivery:
    """Send an event that tells of nothing, behind all that waits, which is tried at once.

    Without an Idempotency-Key each call sends one. Raises NotFound, also for another's, and WebhookInactive.
    """

    async def send(tx: Transaction) -> WebhookDelivery:
        require_active(await lock_own(tx, webhook_id))
        event_id = new_id()
        await queue_ping(tx, webhook_id, event_id)
        return await tx.one(WebhookDelivery, FIND, webhook_id, event_id)

    return await once(db, webhook_id, send)


async def move_behind(tx: Transaction, webhook_id: UUID, delivery_id: UUID | None, since: datetime | None) -> int:
    """Let one delivery, or those that failed, wait again; how many did not wait already."""
    moved = await tx.value(RETRY, webhook_id, delivery_id, since, MOST_AT_ONCE)
    tx.after_commit.append(news.ring)
    return int(moved)


def require_active(webhook: Webhook) -> None:
    """Raises WebhookInactive."""
    if webhook.status != "active":
        raise WebhookInactive(webhook.status)


def show(row: _Listed) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id,
        webhook_id=row.webhook_id,
        type=row.type,
        status=row.status,
        attempts=row.attempts,
        settled_at=row.settled_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
