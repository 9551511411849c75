"""What inventory does when it hears from the catalogue."""

from uuid import UUID

from souk.catalog.events import VariantAdded, VariantRemoved
from souk.inventory import availability
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes


@subscribes(VariantAdded, VariantRemoved)
async def learn_items(tx: Transaction, news: tuple[Delivered[VariantAdded | VariantRemoved], ...]) -> None:
    """Know which product a SKU belongs to and who sells it. Of several facts about one SKU the last one counts."""
    known: dict[str, tuple[UUID, UUID]] = {}
    gone: dict[str, UUID] = {}
    for event in (one.event for one in news):
        if isinstance(event, VariantAdded):
            known[event.sku] = (event.product_id, event.seller_id)
            gone.pop(event.sku, None)
        else:
            gone[event.sku] = event.product_id
            known.pop(event.sku, None)
    await availability.forget_items(tx, gone)
    await availability.learn_items(tx, known)
