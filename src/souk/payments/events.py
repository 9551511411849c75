"""What payments announces."""

from datetime import datetime
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


class PayoutAccountChanged(Event, frozen=True):
    """A seller wants their money of a currency elsewhere from now on: if they did not say so, there is time until it is paid again."""

    seller_id: UUID
    currency: str
    payable_from: datetime


class PayoutSent(Event, frozen=True):
    """A seller's money has left for their bank."""

    payout_id: UUID
    seller_id: UUID
    amount: Money


class PayoutFailed(Event, frozen=True):
    """A seller's bank refused the money or sent it back: it is in their balance again, and is paid out with what they earn."""

    payout_id: UUID
    seller_id: UUID
    amount: Money
    reason: str


class ChargebackOpened(Event, frozen=True):
    """The buyer's bank has taken back money that was captured for an order.

    So much of it as `counted` says counts as given back to the buyer from now on; the rest had gone back before.
    """

    order_id: UUID
    payment_id: UUID
    chargeback_id: UUID
    amount: Money
    counted: Money


class ChargebackCovered(Event, frozen=True):
    """More of a chargeback counts as given back to the buyer: a refund that was under way when it came was refused."""

    order_id: UUID
    payment_id: UUID
    chargeback_id: UUID
    counted: Money


class ChargebackClosed(Event, frozen=True):
    """A bank has decided. If the shop has won the money is there again, and nothing of it (`counted`) counts as given back any more."""

    order_id: UUID
    payment_id: UUID
    chargeback_id: UUID
    amount: Money
    counted: Money
    won: bool


class WalletCredited(Event, frozen=True):
    """Money came into a user's wallet: a deposit, a refund, or from another user, a hold or a seller's balance."""

    user_id: UUID
    amount: Money


class MoneyHeld(Event, frozen=True):
    """A user has set money aside, for another user or for the shop, until a time."""

    hold_id: UUID
    user_id: UUID
    to_user_id: UUID | None
    amount: Money
    expires_at: datetime


class HoldPosted(Event, frozen=True):
    """Held money has gone on: the amount, which may be a part of what was held. The rest is back in the wallet."""

    hold_id: UUID
    user_id: UUID
    to_user_id: UUID | None
    to_seller_id: UUID | None
    amount: Money


class HoldReleased(Event, frozen=True):
    """Held money is back in the wallet that it came from, because it was given back or because its time was over."""

    hold_id: UUID
    user_id: UUID
    to_user_id: UUID | None
    amount: Money
    expired: bool
