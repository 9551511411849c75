"""What orders does when it hears of payments and of people who leave."""

from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.orders import leaving, placements, settling
from souk.payments.events import PaymentCaptured, PaymentRefunded
from souk.users.events import UserErased


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


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Take addresses and notes off the orders of people who leave."""
    await leaving.forget_users(tx, [one.event.user_id for one in news])
