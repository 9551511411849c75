"""What orders does when it hears of payments and of people who leave."""

from souk.kit.db import Transaction
from souk.kit.events import Delivered, Event, subscribes
from souk.kit.money import Money
from souk.orders import fulfilling, leaving, parcels, placements, returns, settling
from souk.orders.events import DigitalGoodsSold, ParcelPacked
from souk.orders.parcels import ParcelStatus, Step
from souk.orders.settling import Repaid
from souk.payments.events import ChargebackClosed, ChargebackCovered, ChargebackOpened, PaymentCaptured, PaymentRefunded
from souk.shipping.events import ShipmentCancelled, ShipmentDelivered, ShipmentDispatched
from souk.users.events import UserErased

MoneyBack = PaymentRefunded | ChargebackOpened | ChargebackCovered | ChargebackClosed

STATUS_AFTER: dict[type[Event], ParcelStatus] = {
    ShipmentDispatched: "dispatched",
    ShipmentDelivered: "delivered",
    ShipmentCancelled: "canceled",
}


@subscribes(PaymentCaptured)
async def nudge_paid_orders(tx: Transaction, news: tuple[Delivered[PaymentCaptured], ...]) -> None:
    """Let the sweeper go on with orders that were paid after they had been looked at. One that its own request completes is left alone."""
    # Of a payment that was captured at once nobody can have seen less. An attempt goes to sleep only after it has seen the payment
    # unpaid, so none of this order ever has: whoever is at work sees the money, or gives up and leaves the order "completing", or
    # dies or loses the lease, and then it is due as well. Whoever decides to undo closes the payment: it is not captured after that.
    if late := [one.event.order_id for one in news if not one.event.at_once]:
        await placements.nudge(tx, late)


@subscribes(PaymentRefunded, ChargebackOpened, ChargebackCovered, ChargebackClosed)
async def note_refunds(tx: Transaction, news: tuple[Delivered[MoneyBack], ...]) -> None:
    """Show on the order, and on its return, that money went back, or that a bank took it: by one consumer, in their order."""
    # What came back of an order whose buyer had all of the money already brings none; its return is at its end all the same.
    told = [one.event for one in news if not isinstance(one.event, PaymentRefunded) or one.event.amount.amount]
    await settling.add_refunds(tx, tuple(map(repaid_of, told)))
    # After the orders: whoever rules on a return has locked its order before, too.
    await returns.mark_refunded(tx, [one.event.refund_id for one in news if isinstance(one.event, PaymentRefunded)])


def repaid_of(event: MoneyBack) -> Repaid:
    """What counts as given back to the buyer from now on; no longer, if the shop has won."""
    match event:
        case PaymentRefunded():
            return Repaid(event.order_id, event.amount, "refunded", event.amount)
        case ChargebackOpened():
            return Repaid(event.order_id, event.counted, "chargeback", event.amount)
        case ChargebackCovered():
            return Repaid(event.order_id, event.counted)
        case ChargebackClosed(won=True):
            return Repaid(event.order_id, Money(-event.counted.amount, event.counted.currency), "chargeback_won", event.amount)
        case ChargebackClosed():
            return Repaid(event.order_id, Money(0, event.amount.currency), "chargeback_lost", event.amount)


@subscribes(ParcelPacked, kind="call")
async def open_packed_parcels(news: tuple[Delivered[ParcelPacked], ...]) -> None:
    """Let shipping know of every parcel, also when its packer died before."""
    for one in news:
        await parcels.open_parcel(one.event.order_id, one.event.parcel_id)


@subscribes(DigitalGoodsSold, kind="call")
async def fulfill_digital_parts(news: tuple[Delivered[DigitalGoodsSold], ...]) -> None:
    """What needs no shipping is delivered when it is paid."""
    for one in news:
        await fulfilling.fulfill_digital_parts(one.event.order_id)


@subscribes(ShipmentDispatched, ShipmentDelivered, ShipmentCancelled)
async def follow_parcels(tx: Transaction, news: tuple[Delivered[ShipmentDispatched | ShipmentDelivered | ShipmentCancelled], ...]) -> None:
    """Show on the order how far its parcels have come."""
    await parcels.follow(tx, [Step(one.event.order_id, one.event.shipment_id, STATUS_AFTER[type(one.event)]) for one in news])


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Take addresses and notes off the orders of people who leave."""
    await leaving.forget_users(tx, [one.event.user_id for one in news])
