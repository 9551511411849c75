"""Orders as invoices are made of them: what was bought and what of it was cancelled, who bought it, and where it went."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.orders.database import db
from souk.orders.reading import FIND_ORDERS, StoredLine, StoredOrder, StoredPart
from souk.orders.types import Address
from souk.orders.worths import lines_of, worth_of


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

    It is supplied when this shop has sent all of it that was not cancelled; what was sent before it was recorded here is not.
    """

    seller_id: UUID
    shipping: int
    tax: int
    is_supplied: bool = True


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


@exposed()
async def read_invoice_facts(order_ids: tuple[UUID, ...]) -> tuple[InvoiceFacts, ...]:
    """What invoices have to know of these orders, for the shop itself and admins. Changes nothing; raises Forbidden."""
    caller().principal.require_admin()
    return tuple(describe(order) for order in await db.all(StoredOrder, FIND_ORDERS, list(order_ids)))


def describe(order: StoredOrder) -> InvoiceFacts:
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
        parts=tuple(SoldShipping(part.seller_id, part.shipping, part.tax, is_supplied(order, part)) for part in order.parts),
    )


def describe_line(line: StoredLine) -> SoldLine:
    left = worth_of(line, line.quantity - line.canceled)
    known = {name: getattr(line, name) for name in SoldLine.__struct_fields__ if not name.startswith("left_")}
    return SoldLine(**known, left_tax=left.tax, left_total=left.amount)


def is_supplied(order: StoredOrder, part: StoredPart) -> bool:
    lines = lines_of(order, part)
    all_sent = all(line.shipped + line.canceled == line.quantity for line in lines) and any(line.shipped for line in lines)
    return all_sent and part.shipping_option is not None
