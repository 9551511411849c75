"""What orders does when it hears of payments and of people who leave."""

from souk.kit.db import Transaction
from souk.kit.events import Delivered, Event, subscribes
from souk.orders import leaving, parcels, placements, settling
from souk.orders.events import ParcelPacked
from souk.orders.parcels import ParcelStatus, Step
from souk.payments.events import PaymentCaptured, PaymentRefunded
from souk.shipping.events import ShipmentCancelled, ShipmentDelivered, ShipmentDispatched
from souk.users.events import UserErased

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


@subscribes(PaymentRefunded)
async def note_refunds(tx: Transaction, news: tuple[Delivered[PaymentRefunded], ...]) -> None:
    """Show on the order that money went back."""
    await settling.add_refunds(tx, tuple((one.event.order_id, one.event.amount) for one in news))


@subscribes(ParcelPacked, kind="call")
async def open_packed_parcels(news: tuple[Delivered[ParcelPacked], ...]) -> None:
    """Let shipping know of every parcel, also when its packer died before."""
    for one in news:
        await parcels.open_parcel(one.event.order_id, one.event.parcel_id)


@subscribes(ShipmentDispatched, ShipmentDelivered, ShipmentCancelled)
async def follow_parcels(tx: Transaction, news: tuple[Delivered[ShipmentDispatched | ShipmentDelivered | ShipmentCancelled], ...]) -> None:
    """Show on the order how far its parcels have come."""
    await parcels.follow(tx, [Step(one.event.order_id, one.event.shipment_id, STATUS_AFTER[type(one.event)]) for one in news])


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Take addresses and notes off the orders of people who leave."""
    await leaving.forget_users(tx, [one.event.user_id for one in news])
