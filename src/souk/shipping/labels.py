"""Labels of parcels: what is stuck on them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from souk.kit.calls import exposed
from souk.shipping.database import db
from souk.shipping.senders import find_sender
from souk.shipping.shipments import find_own
from souk.shipping.types import Address, Shipment, WrongShipmentStatus

FIND_DOCUMENT = "SELECT document FROM shipping.label WHERE shipment_id = $1 AND status = 'bought'"

# One label after the other: the library that draws keeps its fonts in one place.
_printer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="labels")


@exposed(timeout=10.0)
async def print_label(shipment_id: UUID) -> bytes:
    """The label of a parcel of one's own (any for an admin) as PDF: its carrier's if it gave one, else our own. Changes nothing.

    Raises NotFound, and WrongShipmentStatus for a parcel that was cancelled.
    """
    found = await find_own(shipment_id)
    if found.status == "canceled":
        raise WrongShipmentStatus(found.status)
    if (bought := await db.value(FIND_DOCUMENT, shipment_id)) is not None:
        return bytes(bought)
    sender = await find_sender(found.seller_id)
    return await asyncio.get_running_loop().run_in_executor(_printer, draw, found, sender.address if sender else None)


def draw(shipment: Shipment, sender: Address | None) -> bytes:
    """A label of our own, drawn beside the event loop."""
    # The library takes 7 MB of every process that imports it.
    from souk.shipping.printing import draw_label  # noqa: PLC0415

    return draw_label(shipment, sender)
