"""Change an order before anything is shipped: where it goes, and the note to the seller."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.orders import reading
from souk.orders.database import db
from souk.orders.settling import Moment, add_to_timeline
from souk.orders.types import AddressCountryFixed, ChangeOrder, NotChangeable, Order

WRITE_CHANGE = """
    UPDATE orders.orders SET shipping_address = $2, note = $3, version = version + 1, updated_at = now()
    WHERE id = $1 AND status IN ('draft', 'placed') AND fulfillment_status = 'unfulfilled'
"""


@exposed()
async def change_order(order_id: UUID, change: ChangeOrder) -> Order:
    """Change address or note of one's own order; the address stays in its country, for which shipping and tax were calculated.

    Repeating it changes nothing more. Raises NotFound, AddressCountryFixed, and NotChangeable once something was shipped.
    """
    who = caller()
    order = await reading.find_order(order_id)
    if not (who.principal.is_admin or reading.is_owner(order, who)):
        raise NotFound
    address = order.shipping_address if change.shipping_address is msgspec.UNSET else change.shipping_address
    note = order.note if change.note is msgspec.UNSET else change.note
    before = order.shipping_address
    if before is not None and address is not None and (address.country, address.region) != (before.country, before.region):
        raise AddressCountryFixed(before.country)
    async with db.transaction() as tx:
        if not await tx.run(WRITE_CHANGE, order_id, msgspec.to_builtins(address), note):
            raise NotChangeable(order.status)
        changed = [name for name in ("shipping_address", "note") if getattr(change, name) is not msgspec.UNSET]
        await add_to_timeline(tx, (Moment(order_id, "changed", {"fields": changed}, who.principal.user_id),))
    return await reading.show_order(order_id)
