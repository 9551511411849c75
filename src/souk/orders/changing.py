"""Change an order before anything is shipped: where it goes and how, and the note to the seller."""

import asyncio
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.orders import placements, placing, reading, requoting
from souk.orders.database import db
from souk.orders.drafts import Change
from souk.orders.reading import StoredOrder
from souk.orders.settling import LOCK_ORDERS, Moment, add_to_timeline
from souk.orders.types import Address, AddressCountryFixed, ChangeOrder, NotChangeable, Order, PaymentUnderWay

WRITE_NOTE = """
    UPDATE orders.orders SET note = $2, version = version + 1, updated_at = now()
    WHERE id = $1 AND status IN ('draft', 'placed') AND fulfillment_status = 'unfulfilled'
"""
# Its row is locked before. A parcel bears the address of the moment when it was packed.
WRITE_ADDRESS = """
    UPDATE orders.orders SET shipping_address = $2, version = version + 1, updated_at = now()
    WHERE id = $1 AND status = 'placed' AND NOT EXISTS (SELECT FROM orders.order_line WHERE order_id = $1 AND packed > 0)
"""


@exposed(timeout=40.0)
async def change_order(order_id: UUID, change: ChangeOrder) -> Order:
    """Change note, address or shipping option of one's own order, before anything is shipped.

    An order that is not paid yet is quoted again, at the prices of its lines: its total may change. Of a paid one the address
    stays in its country and region, and the shipping option as it is. Repeating it changes nothing more. Raises NotFound,
    NotChangeable, AddressCountryFixed, PaymentUnderWay, and what shipping and pricing refuse.
    """
    who = caller()
    order = await reading.find_order(order_id)
    if not (who.principal.is_admin or reading.is_owner(order, who)):
        raise NotFound
    if change.note is not msgspec.UNSET and change.note != order.note:
        await change_note(order, change.note)
    if order.status == "draft":
        await change_shipping(order, change)
    elif change.shipping_option is not msgspec.UNSET or change.shipping_options is not msgspec.UNSET:
        raise NotChangeable(order.status)
    elif change.shipping_address is not msgspec.UNSET and change.shipping_address != order.shipping_address:
        await change_address(order, change.shipping_address)
    return await reading.show_order(order_id)


async def change_note(order: StoredOrder, note: str | None) -> None:
    async with db.transaction() as tx:
        if not await tx.run(WRITE_NOTE, order.id, note):
            raise NotChangeable(order.status)
        await add_to_timeline(tx, (Moment(order.id, "changed", {"fields": ["note"]}, caller().principal.user_id),))


async def change_address(order: StoredOrder, address: Address) -> None:
    """A paid order goes elsewhere in its region, for which shipping and tax were calculated."""
    before = order.shipping_address
    if order.status != "placed":
        raise NotChangeable(order.status)
    if before is not None and (address.country, address.region) != (before.country, before.region):
        raise AddressCountryFixed(before.country)
    async with db.transaction() as tx:
        await tx.run(LOCK_ORDERS, [order.id])
        if not await tx.run(WRITE_ADDRESS, order.id, msgspec.to_builtins(address)):
            raise NotChangeable(order.status)
        await add_to_timeline(tx, (Moment(order.id, "changed", {"fields": ["shipping_address"]}, caller().principal.user_id),))


async def change_shipping(order: StoredOrder, change: ChangeOrder) -> None:
    """An order that is not paid yet goes elsewhere or otherwise, for another total."""
    address = order.shipping_address if change.shipping_address is msgspec.UNSET else change.shipping_address
    options = {} if change.shipping_options is msgspec.UNSET else change.shipping_options
    option = None if change.shipping_option is msgspec.UNSET else change.shipping_option
    if address is None or (address == order.shipping_address and not options and option is None):
        return
    placement = await placing.take_over(order.id)
    if placement.step == "done":
        raise NotChangeable(order.status)
    try:
        # Read again: under our lease the order is nobody else's to change.
        order = await reading.find_order(order.id)
        wanted = await requoting.quote_again(order, address, options, option)
        if not is_as_wanted(order, wanted):
            placement = await placements.remember_change(placement, wanted)
    except BaseException:
        await asyncio.shield(placing.leave_to_others(placement))
        raise
    await placing.attempt(placement, None)
    after = await reading.find_order(order.id)
    if after.status not in ("draft", "placed"):
        raise NotChangeable(after.status)
    if not is_as_wanted(after, wanted):
        raise PaymentUnderWay


def is_as_wanted(order: StoredOrder, wanted: Change) -> bool:
    """Whether the order goes there, so, and for this total."""
    options = {part.seller_id: (part.shipping_option, part.total) for part in order.parts}
    return (
        msgspec.to_builtins(order.shipping_address) == wanted.shipping_address
        and options == {part.seller_id: (part.shipping_option, part.total) for part in wanted.parts}
        and order.total == wanted.total
    )
