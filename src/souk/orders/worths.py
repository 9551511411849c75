"""What pieces of an order are worth: how the money of a part follows its pieces as they leave, are cancelled, and come back."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk import payments
from souk.kit.money import Money, divide_half_up
from souk.orders.events import SaleEarned
from souk.orders.reading import StoredLine, StoredOrder, StoredPart


class Worth(msgspec.Struct, frozen=True):
    """Money of a seller's part, in the order's currency: what the buyer paid, the tax in it, and how that divides."""

    amount: int = 0
    tax: int = 0
    commission: int = 0
    platform_discount: int = 0

    def __add__(self, other: "Worth") -> "Worth":
        return Worth(*(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))

    def __sub__(self, other: "Worth") -> "Worth":
        return Worth(*(a - b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))

    def cut(self, amount: int) -> "Worth":
        """So much of it, and the rest in proportion, each rounded half up. What costs nothing stays as it is."""
        if self.amount == 0:
            return self
        return Worth(amount, *(divide_half_up(one * amount, self.amount) for one in (self.tax, self.commission, self.platform_discount)))

    def shown(self, currency: str) -> tuple[Money, Money, Money, Money]:
        """As other contexts know it: the amount with tax, the tax, the commission, what the platform took off."""
        amount, tax, commission, platform_discount = (Money(one, currency) for one in msgspec.structs.astuple(self))
        return amount, tax, commission, platform_discount


def whole_of(one: StoredLine | StoredPart) -> Worth:
    """What a line or a part is worth as a whole."""
    return Worth(one.total, one.tax, one.commission, one.platform_discount)


def worth_of(line: StoredLine, pieces: int) -> Worth:
    """What the first so many pieces of a line are worth, each amount rounded half up, the tax in proportion to the rounded amount.

    It is rounded once per number and not per piece, so that all pieces are the line, and no step has more tax than it costs.
    """
    amount, commission, platform_discount = (
        divide_half_up(one * pieces, line.quantity) for one in (line.total, line.commission, line.platform_discount)
    )
    tax = divide_half_up(line.tax * amount, line.total) if line.total else 0
    return Worth(amount, tax, commission, platform_discount)


def freight_of(part: StoredPart, lines: Sequence[StoredLine]) -> Worth:
    """What is not of the lines of a part: its shipping."""
    return whole_of(part) - sum(map(whole_of, lines), Worth())


def earned_of(part: StoredPart, lines: Sequence[StoredLine]) -> Worth:
    """What the seller of a part has earned: the pieces that have left, and with the first of them the shipping."""
    worth = sum((worth_of(line, line.shipped) for line in lines), Worth())
    return worth + freight_of(part, lines) if any(line.shipped for line in lines) else worth


def canceled_of(part: StoredPart, lines: Sequence[StoredLine]) -> Worth:
    """What the cancelled pieces of a part were worth, and once nothing is left to ship, and nothing was, the shipping.

    Pieces leave from the first one on and are cancelled from the last one on: where these meet, nothing is lost in rounding.
    """
    worth = sum((worth_of(line, line.quantity) - worth_of(line, line.quantity - line.canceled) for line in lines), Worth())
    return worth + freight_of(part, lines) if all(line.canceled == line.quantity for line in lines) else worth


def returned_of(part: StoredPart, lines: Sequence[StoredLine]) -> Worth:
    """What the pieces of a part that came back are worth, and once all of it has, its shipping."""
    worth = sum((worth_of(line, line.returned) for line in lines), Worth())
    return worth + freight_of(part, lines) if is_all_back(lines) else worth


def is_all_back(lines: Sequence[StoredLine]) -> bool:
    """Whether everything that was not cancelled has come back."""
    return any(line.returned for line in lines) and all(line.returned + line.canceled == line.quantity for line in lines)


def sales_earned(before: StoredOrder, after: StoredOrder, parcels: dict[UUID, UUID]) -> list[SaleEarned]:
    """The news of what the sellers of an order have earned between two states of it, by the parcel of each, be it nothing."""
    news = []
    for part in before.parts:
        if part.seller_id in parcels:
            worth = earned_of(part, lines_of(after, part)) - earned_of(part, lines_of(before, part))
            news.append(SaleEarned(before.id, parcels[part.seller_id], part.seller_id, *worth.shown(before.currency)))
    return news


def lines_of(order: StoredOrder, part: StoredPart) -> tuple[StoredLine, ...]:
    """The lines of a seller's part."""
    return tuple(line for line in order.lines if line.seller_id == part.seller_id)


def part_to_pay(seller_id: UUID, worth: Worth, currency: str) -> payments.PaymentPart:
    """A worth as payments knows it."""
    return payments.PaymentPart(seller_id, *worth.shown(currency))
