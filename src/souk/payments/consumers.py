"""What payments does when it hears of what sellers earn and owe and buyers get back, and of people who are suspended or leave."""

import asyncio
from collections.abc import Iterable

from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.orders.events import ItemsCancelled, ReturnReceived, SaleEarned
from souk.payments import earnings, labels, payout_accounts, refunds
from souk.payments.types import Destination, PaymentPart, RefundPayment
from souk.shipping.events import LabelBought, LabelVoided
from souk.users.events import SellerApproved, SellerSuspended, UserErased


@subscribes(SaleEarned)
async def book_earnings(tx: Transaction, news: tuple[Delivered[SaleEarned], ...]) -> None:
    """Give sellers what they have earned."""
    await earnings.book_earnings(tx, [one.event for one in news])


@subscribes(LabelBought, LabelVoided)
async def charge_labels(tx: Transaction, news: tuple[Delivered[LabelBought | LabelVoided], ...]) -> None:
    """Have sellers pay for their labels."""
    await labels.book_labels(tx, [one.event for one in news])


@subscribes(ItemsCancelled, kind="call")
async def refund_cancelled_items(news: tuple[Delivered[ItemsCancelled], ...]) -> None:
    """Give back what was paid for pieces that are cancelled. The cancellation's id makes it once."""
    await refund_all(canceled(one.event) for one in news)


@subscribes(ReturnReceived, kind="call")
async def refund_returned_items(news: tuple[Delivered[ReturnReceived], ...]) -> None:
    """Give back what was paid for pieces that came back, by their buyer or by the platform alone. The return's id makes it once."""
    await earnings.take_back_free([one.event for one in news])
    await refund_all(returned(one.event) for one in news)


@subscribes(SellerSuspended, SellerApproved)
async def pause_payouts(tx: Transaction, news: tuple[Delivered[SellerSuspended | SellerApproved], ...]) -> None:
    """Pay nobody by itself who is suspended, and go on when they are back."""
    for one in news:
        await payout_accounts.pause(tx, one.event.seller_id, isinstance(one.event, SellerSuspended))


@subscribes(UserErased)
async def forget_payout_accounts(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Drop the bank accounts that people have set who leave."""
    await payout_accounts.forget_set_by(tx, [one.event.user_id for one in news])


async def refund_all(requests: Iterable[RefundPayment]) -> None:
    """Make refunds, those that are worth something, together."""
    worth = [one for one in requests if any(part.amount.amount for part in one.parts)]
    await asyncio.gather(*(refunds.refund(one) for one in worth))


def canceled(event: ItemsCancelled) -> RefundPayment:
    parts = tuple(PaymentPart(part.seller_id, part.amount, part.tax, part.commission, part.platform_discount) for part in event.parts)
    return RefundPayment(event.cancellation_id, event.order_id, None, "canceled", cause="canceled", parts=parts)


def returned(event: ReturnReceived) -> RefundPayment:
    part = PaymentPart(event.seller_id, event.amount, event.tax, event.commission, event.platform_discount)
    to: Destination = "wallet" if event.to_wallet else "origin"
    return RefundPayment(event.return_id, event.order_id, None, "returned", to, "returned", (part,))
