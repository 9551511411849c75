"""Sellers and admins say where they want to be told of what, change that, and end it."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.webhooks import catalogue
from souk.webhooks.addresses import check_url
from souk.webhooks.database import db
from souk.webhooks.queueing import news
from souk.webhooks.settings import settings
from souk.webhooks.signing import add_secret, open_secret
from souk.webhooks.types import EventType, NewWebhook, OpenedWebhook, TooManyWebhooks, Webhook, WebhookChange

# A backlog is counted no further than this, for it is counted while the webhook is locked, and whoever adds to it or sends of it waits.
SHOWN = """
    w.id, w.seller_id, w.url, w.events, w.description, w.status, w.disabled_reason, w.failing_since, w.created_at, w.updated_at,
    (SELECT count(*) FROM (
        SELECT FROM webhooks.delivery AS d WHERE d.webhook_id = w.id AND d.status = 'waiting' LIMIT 1000
    ) AS first) AS waiting
"""
OF_OWNER = "(seller_id = $1::uuid OR (seller_id IS NULL AND $1::uuid IS NULL))"
FIND = f"SELECT {SHOWN} FROM webhooks.webhook AS w WHERE w.id = $1"
LOCK = f"{FIND} FOR UPDATE"
LIST = f"SELECT {SHOWN} FROM webhooks.webhook AS w WHERE {OF_OWNER} AND w.id < $2 ORDER BY w.id DESC LIMIT $3"
# What is counted before it is written is counted right: an owner makes one webhook after the other.
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || coalesce($1::uuid::text, ''), 0))"
COUNT = f"SELECT count(*) FROM webhooks.webhook WHERE {OF_OWNER}"
ADD = "INSERT INTO webhooks.webhook (id, seller_id, url, events, description) VALUES ($1, $2, $3, $4, $5)"
# Whoever changes something wants to see what comes of it: what waits is sent at once.
CHANGE = """
    UPDATE webhooks.webhook AS w SET
        url = $2, events = $3, description = $4, status = $5, updated_at = now(),
        disabled_reason = CASE WHEN $5 = 'disabled' THEN w.disabled_reason END,
        failing_since = CASE WHEN w.status = $5 AND w.url = $2 THEN w.failing_since END,
        active_since = CASE WHEN w.status = $5 THEN w.active_since ELSE now() END,
        due_at = CASE WHEN EXISTS (SELECT FROM webhooks.delivery AS d WHERE d.webhook_id = w.id AND d.status = 'waiting') THEN now() END
    WHERE w.id = $1
"""
REMOVE = "DELETE FROM webhooks.webhook WHERE id = $1"

NEWEST = UUID(int=2**128 - 1)


@exposed()
async def create_webhook(new: NewWebhook) -> OpenedWebhook:
    """Be told of events at an address from now on; the secret that signs them is shown here and never again.

    Without an Idempotency-Key each call makes one. Raises Forbidden for who sells nothing, NotFound for another's seller, InvalidField,
    TooManyWebhooks.
    """
    seller_id = caller().principal.choose_seller(new.seller_id)
    check_url(new.url, settings.now.ports, allow_private=settings.now.allow_private)
    catalogue.check_patterns(new.events, is_sellers=seller_id is not None)

    async def add(tx: Transaction) -> OpenedWebhook:
        await tx.run(TAKE_TURN, seller_id)
        if await tx.value(COUNT, seller_id) >= settings.now.per_owner:
            raise TooManyWebhooks(settings.now.per_owner)
        webhook_id = new_id()
        await tx.run(ADD, webhook_id, seller_id, new.url, list(dict.fromkeys(new.events)), new.description)
        sealed = await add_secret(tx, webhook_id)
        return OpenedWebhook(await tx.one(Webhook, FIND, webhook_id), sealed)

    return open_kept(await once(db, new, add))


@exposed()
async def rotate_webhook_secret(webhook_id: UUID) -> OpenedWebhook:
    """Sign with a new secret, shown here and never again; those before it sign along for 24 hours.

    Without an Idempotency-Key each call makes one. Raises NotFound, TooManySecrets.
    """

    async def rotate(tx: Transaction) -> OpenedWebhook:
        webhook = await lock_own(tx, webhook_id)
        return OpenedWebhook(webhook, await add_secret(tx, webhook_id))

    return open_kept(await once(db, webhook_id, rotate))


@exposed()
async def get_webhook(webhook_id: UUID) -> Webhook:
    """A webhook of one's own. Changes nothing; raises NotFound, also for another's."""
    return own(await db.maybe(Webhook, FIND, webhook_id))


@exposed()
async def list_webhooks(seller_id: UUID | None, limit: int, cursor: str | None) -> Page[Webhook]:
    """The webhooks of a seller, or the shop's own for an admin who names none; the newest first.

    Changes nothing. Raises Forbidden for who sells nothing, NotFound for another's seller.
    """
    chosen = caller().principal.choose_seller(seller_id)
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    return make_page(await db.all(Webhook, LIST, chosen, before, limit + 1), limit, lambda row: (row.id,))


@exposed()
async def change_webhook(webhook_id: UUID, change: WebhookChange) -> Webhook:
    """Change what is given; repeating changes nothing more. What waits is sent at once, if it is active. Raises NotFound, InvalidField.

    A webhook is told of what happens while it is active, and of nothing that happened while it was not.
    """
    async with db.transaction() as tx:
        found = await lock_own(tx, webhook_id)
        given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        wanted = msgspec.structs.replace(found, **given)
        if wanted.url != found.url:
            check_url(wanted.url, settings.now.ports, allow_private=settings.now.allow_private)
        if wanted.events != found.events:
            catalogue.check_patterns(wanted.events, is_sellers=wanted.seller_id is not None)
        events = list(dict.fromkeys(wanted.events))
        await tx.run(CHANGE, webhook_id, wanted.url, events, wanted.description, wanted.status)
        tx.after_commit.append(news.ring)
        return await tx.one(Webhook, FIND, webhook_id)


@exposed()
async def remove_webhook(webhook_id: UUID) -> None:
    """Tell an address of nothing any more, and forget its secrets. Raises NotFound, also when it is gone."""
    async with db.transaction() as tx:
        await lock_own(tx, webhook_id)
        await tx.run(REMOVE, webhook_id)


@exposed()
async def list_event_types() -> tuple[EventType, ...]:
    """The events that a webhook can be told of. Changes nothing."""
    return catalogue.list_types()


async def lock_own(tx: Transaction, webhook_id: UUID) -> Webhook:
    """A webhook of the caller's, locked until the transaction ends; raises NotFound."""
    return own(await tx.maybe(Webhook, LOCK, webhook_id))


def own(found: Webhook | None) -> Webhook:
    """The webhook, if it is the caller's; raises NotFound."""
    if found is None or not caller().principal.manages(found.seller_id):
        raise NotFound
    return found


def open_kept(kept: OpenedWebhook) -> OpenedWebhook:
    """The answer with its secret. Answers are kept for those who repeat a request: in the database the secret is sealed there, too."""
    return msgspec.structs.replace(kept, secret=open_secret(kept.webhook.id, kept.secret))
