"""What payments announces."""

from uuid import UUID

from souk.kit.events import Event
from souk.kit.money import Money


class PaymentCaptured(Event, frozen=True):
    """The whole amount of an order's payment is with us. It happens once per order, and never after the payment was closed.

    At once: the payment was written down as captured, so that whoever has seen it at all, has seen it paid.
    """

    order_id: UUID
    payment_id: UUID
    amount: Money
    at_once: bool = False


class PaymentFailed(Event, frozen=True):
    """An attempt to pay an order came to nothing; another one may follow as long as the payment is open."""

    order_id: UUID
    payment_id: UUID
    attempt_id: UUID
    reason: str


class PaymentRefunded(Event, frozen=True):
    """A part of what was captured for an order, or all of it, went back to the buyer."""

    order_id: UUID
    payment_id: UUID
    refund_id: UUID
    amount: Money


class WalletCredited(Event, frozen=True):
    """Money came into a user's wallet: a deposit, a refund, or a transfer from another user."""

    user_id: UUID
    amount: Money
