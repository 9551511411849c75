"""What invoices does when it hears of parts that are supplied, and of pieces that come back."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from souk.invoices import crediting, issuing
from souk.invoices.types import CreditedLine, IssueCreditNote, SoldPart
from souk.kit.events import Delivered, subscribes
from souk.orders.events import ItemsCancelled, ReturnReceived, SaleEarned


@subscribes(SaleEarned, ItemsCancelled, kind="call")
async def invoice_supplied_parts(news: tuple[Delivered[SaleEarned | ItemsCancelled], ...]) -> None:
    """A seller's part of an order is invoiced when its last parcel has left, or what was left of it is cancelled."""
    await issuing.issue_invoices(tuple(SoldPart(order_id, seller_id, at) for one in news for order_id, seller_id, at in find_parts(one)))


@subscribes(ReturnReceived, kind="call")
async def credit_returned_pieces(news: tuple[Delivered[ReturnReceived], ...]) -> None:
    """What goes back for pieces that came back is credited. The return's id makes it once."""
    parts = tuple(SoldPart(one.event.order_id, one.event.seller_id, one.occurred_at) for one in news)
    issued = {(invoice.order_id, invoice.seller_id) for invoice in await issuing.issue_invoices(parts)}
    for event in (one.event for one in news):
        if (event.order_id, event.seller_id) in issued and event.amount.amount:  # what was invoiced elsewhere is credited there
            await crediting.issue_credit_note(describe(event))


def find_parts(one: Delivered[SaleEarned | ItemsCancelled]) -> Iterable[tuple[UUID, UUID, datetime]]:
    """The parts that an event is about, and when it happened."""
    event = one.event
    sellers = (event.seller_id,) if isinstance(event, SaleEarned) else tuple(dict.fromkeys(line.seller_id for line in event.lines))
    return ((event.order_id, seller_id, one.occurred_at) for seller_id in sellers)


def describe(event: ReturnReceived) -> IssueCreditNote:
    """What the credit note of a return is to say."""
    lines = tuple(CreditedLine(line.line_id, line.sku, line.quantity, line.amount.amount, line.tax.amount) for line in event.lines)
    return IssueCreditNote(
        order_id=event.order_id,
        refund_id=event.return_id,
        seller_id=event.seller_id,
        lines=lines,
        shipping=event.amount.amount - sum(line.amount for line in lines),
        total=event.amount.amount,
        tax=event.tax.amount,
    )
