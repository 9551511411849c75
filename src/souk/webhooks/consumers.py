"""What webhooks does when it hears of anything that somebody may have subscribed to."""

from souk.kit.db import Transaction
from souk.kit.events import Delivered, Event, subscribes
from souk.webhooks import queueing
from souk.webhooks.catalogue import KINDS


@subscribes(*KINDS)
async def queue_deliveries(tx: Transaction, news: tuple[Delivered[Event], ...]) -> None:
    """Each event becomes one delivery of each webhook that wants it."""
    await queueing.queue_deliveries(tx, news)
