"""What tests of webhooks share: who subscribes, what happens in the shop, and a look into the books."""

from contextlib import AbstractContextManager
from uuid import UUID

from tests.conftest import asked_by
from tests.waiting import until

from souk import webhooks
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.events import Event, publish
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments.database import db as payments_db
from souk.payments.events import PayoutSent
from souk.webhooks import rules
from souk.webhooks.database import db
from souk.webhooks.types import NewWebhook, OpenedWebhook, WebhookDelivery

SELLER, MEMBER = new_id(), new_id()


def as_seller(seller_id: UUID = SELLER, key: str | None = None) -> AbstractContextManager[None]:
    return asking(Caller(Principal("user", MEMBER, ("seller",), (seller_id,)), request_id="test", idempotency_key=key))


def as_admin() -> AbstractContextManager[None]:
    return asked_by("admin")


def as_system() -> AbstractContextManager[None]:
    return asking(Caller(principal=SYSTEM, request_id="test"))


async def subscribe(url: str, *events: str, seller_id: UUID | None = SELLER) -> OpenedWebhook:
    """A webhook of a seller, or without one of the shop; told of everything if no events are named."""
    with as_seller(seller_id) if seller_id else as_admin():
        return await webhooks.create_webhook(NewWebhook(url, events or ("*",)))


def payout(amount: int, seller_id: UUID = SELLER) -> PayoutSent:
    """Something that happens to a seller, and nobody else in the shop cares about."""
    return PayoutSent(new_id(), seller_id, Money(amount, "EUR"))


async def happen(*events: Event) -> None:
    """These things happen in payments, in this order."""
    async with payments_db.transaction() as tx:
        await publish(tx, *events)


async def deliveries(webhook_id: UUID, *statuses: str) -> tuple[WebhookDelivery, ...]:
    """The deliveries of a webhook in the order of its queue, those of these statuses if any are named."""
    with as_system():
        page = await webhooks.list_webhook_deliveries(webhook_id, None, 100, None)
    return tuple(one for one in reversed(page.items) if not statuses or one.status in statuses)


async def settle(webhook_id: UUID, *statuses: str) -> tuple[WebhookDelivery, ...]:
    """The deliveries of a webhook, when they have these statuses."""

    async def are_settled() -> bool:
        return tuple(one.status for one in await deliveries(webhook_id)) == statuses

    try:
        await until(are_settled, within_s=60)
    except TimeoutError:
        raise AssertionError([(one.type, one.status, one.attempts) for one in await deliveries(webhook_id)]) from None
    return await deliveries(webhook_id)


async def announced() -> list[dict[str, object]]:
    """What webhooks told of those that were disabled."""
    async with db.transaction() as tx:
        return [row["payload"] for row in await tx.connection.fetch("SELECT payload FROM webhooks.outbox ORDER BY xid, id")]


async def check_books() -> None:
    """Every rule of the books holds."""
    for rule in rules.RULES:
        found = await db.value(f"SELECT jsonb_agg(to_jsonb(broken)) FROM ({rule.sql}) AS broken")
        assert found is None, (rule.statement, found)
