"""Orders as invoices are made of them: what was bought and what of it was cancelled, who bought it, and where it went."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.orders.database import db
from souk.orders.reading import FIND_ORDERS, StoredLine, StoredOrder, StoredPart
from souk.orders.types import Address
from souk.orders.worths import lines_of, worth_of

FIND_SENT = """
    SELECT order_id, seller_id, max(coalesce(dispatched_at, updated_at)) AS sent_at
    FROM orders.parcel WHERE order_id = ANY($1) AND status IN ('dispatched', 'delivered')
    GROUP BY order_id, seller_id
"""


class SoldLine(msgspec.Struct, frozen=True):
    """A line as it was placed, amounts in minor units; so many of its pieces were cancelled before they left.

    What the others cost, and the tax in that, is `left_total` and `left_tax`.
    """

    id: UUID
    seller_id: UUID
    sku: str
    name: str
    quantity: int
    canceled: int
    unit_price: int
    discount: int
    tax: int
    tax_rate_ppm: int
    total: int
    left_tax: int
    left_total: int


class SoldShipping(msgspec.Struct, frozen=True):
    """What a seller's part costs beside its lines: shipping, and the tax of lines and shipping.

    It is supplied when this shop has sent all of it that was not cancelled, with its last parcel; what was sent before it was recorded
    here is not.
    """

    seller_id: UUID
    shipping: int
    tax: int
    supplied_at: datetime | None


class InvoiceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All that an invoice has to know of an order; the buyer is a user, or a guest whose token has this hash."""

    order_id: UUID
    number: int
    currency: str
    tax_included: bool
    user_id: UUID | None
    guest_token_hash: bytes | None
    address: Address | None
    placed_at: datetime
    lines: tuple[SoldLine, ...]
    parts: tuple[SoldShipping, ...]


class _Sent(msgspec.Struct, frozen=True):
    order_id: UUID
    seller_id: UUID
    sent_at: datetime


@exposed()
async def read_invoice_facts(order_ids: tuple[UUID, ...]) -> tuple[InvoiceFacts, ...]:
    """What invoices have to know of these orders, for the shop itself and admins. Changes nothing; raises Forbidden."""
    caller().principal.require_admin()
    found = await db.all(StoredOrder, FIND_ORDERS, list(order_ids))
    sent = {(one.order_id, one.seller_id): one.sent_at for one in await db.all(_Sent, FIND_SENT, list(order_ids))}
    return tuple(describe(order, sent) for order in found)


def describe(order: StoredOrder, sent: Mapping[tuple[UUID, UUID], datetime]) -> InvoiceFacts:
    """What invoices have to know of an order, of whose parts the last parcels were sent at these times."""
    return InvoiceFacts(
        order_id=order.id,
        number=order.number,
        currency=order.currency,
        tax_included=order.tax_included,
        user_id=order.user_id,
        guest_token_hash=order.guest_token_hash,
        address=order.shipping_address,
        placed_at=order.placed_at or order.created_at,
        lines=tuple(map(describe_line, order.lines)),
        parts=tuple(describe_part(order, part, sent.get((order.id, part.seller_id))) for part in order.parts),
    )


def describe_line(line: StoredLine) -> SoldLine:
    left = worth_of(line, line.quantity - line.canceled)
    known = {name: getattr(line, name) for name in SoldLine.__struct_fields__ if not name.startswith("left_")}
    return SoldLine(**known, left_tax=left.tax, left_total=left.amount)


def describe_part(order: StoredOrder, part: StoredPart, sent_at: datetime | None) -> SoldShipping:
    return SoldShipping(part.seller_id, part.shipping, part.tax, sent_at if is_supplied(order, part) else None)


def is_supplied(order: StoredOrder, part: StoredPart) -> bool:
    lines = lines_of(order, part)
    all_sent = all(line.shipped + line.canceled == line.quantity for line in lines) and any(line.shipped for line in lines)
    return all_sent and part.shipping_option is not None
