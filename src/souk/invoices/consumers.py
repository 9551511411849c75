"""What invoices does when it hears of parts that are supplied, and of pieces that come back."""

from collections.abc import Iterable

from souk.invoices import crediting, issuing
from souk.invoices.types import CreditedLine, IssueCreditNote, SoldPart
from souk.kit.events import Delivered, subscribes
from souk.orders.events import ItemsCancelled, ReturnReceived, SaleEarned


@subscribes(SaleEarned, ItemsCancelled, kind="call")
async def invoice_supplied_parts(news: tuple[Delivered[SaleEarned | ItemsCancelled], ...]) -> None:
    """A seller's part of an order is invoiced when its last parcel has left, or what was left of it is cancelled."""
    await bill(tuple(part for one in news for part in find_parts(one.event)))


@subscribes(ReturnReceived, kind="call")
async def credit_returned_pieces(news: tuple[Delivered[ReturnReceived], ...]) -> None:
    """What goes back for pieces that came back is credited, as soon as their part is invoiced. The return's id makes it once."""
    await crediting.remember_due([describe(one.event) for one in news if one.event.amount.amount])
    await bill(tuple(SoldPart(one.event.order_id, one.event.seller_id) for one in news))


async def bill(parts: tuple[SoldPart, ...]) -> None:
    """Invoice those of these parts that are supplied, and credit what has come back of them.

    Who tells of a return and who tells of the rest that has left may do this at the same moment: each has written what the other looks for
    before looking.
    """
    await crediting.credit_due(await issuing.issue_invoices(parts))


def find_parts(event: SaleEarned | ItemsCancelled) -> Iterable[SoldPart]:
    """The parts that an event is about."""
    sellers = (event.seller_id,) if isinstance(event, SaleEarned) else tuple(dict.fromkeys(line.seller_id for line in event.lines))
    return (SoldPart(event.order_id, seller_id) for seller_id in sellers)


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
