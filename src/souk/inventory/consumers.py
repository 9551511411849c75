"""What inventory does when it hears from the catalogue."""

from uuid import UUID

from souk.catalog.events import VariantAdded, VariantRemoved
from souk.inventory import availability
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes


@subscribes(VariantAdded, VariantRemoved)
async def learn_items(tx: Transaction, news: tuple[Delivered[VariantAdded | VariantRemoved], ...]) -> None:
    """Know which product a SKU belongs to and who sells it. Of several facts about one SKU the last one counts.

    A SKU may be another product's by the time that its removal from the first one is told: only what is still that product's goes.
    """
    known: dict[str, tuple[UUID, UUID]] = {}
    gone: set[tuple[str, UUID]] = set()
    for event in (one.event for one in news):
        if isinstance(event, VariantAdded):
            known[event.sku] = (event.product_id, event.seller_id)
            continue
        gone.add((event.sku, event.product_id))
        if event.sku in known and known[event.sku][0] == event.product_id:
            del known[event.sku]
    await availability.forget_items(tx, gone)
    await availability.learn_items(tx, known)
