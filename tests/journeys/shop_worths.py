"""What goods are worth in the model of the shop, in fractions that are rounded where the shop says so, and the lines of an order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import NamedTuple

TAX = {"DE": Fraction(19, 100), "US": Fraction(725, 10_000)}
TAX_INSIDE = "DE"
SHIPPING = 500
# Who sells what at which price; what the author sells needs no shipping.
OFFERS = {"CUP": ("potter", 999), "MUG": ("potter", 1250), "NAIL": ("smith", 7), "TALE": ("author", 333)}
DIGITAL = "author"


def round_half_up(amount: Fraction) -> int:
    return floor(amount + Fraction(1, 2))


def divide(amount: int, weights: Sequence[int]) -> list[int]:
    """In proportion; the cents that are missing go to those that lost most in rounding down, the earlier one first."""
    if amount == 0:
        return [0] * len(weights)
    exact = [Fraction(amount * weight, sum(weights)) for weight in weights]
    parts = [floor(one) for one in exact]
    losers = sorted(range(len(parts)), key=lambda at: parts[at] - exact[at])
    for at in losers[: amount - sum(parts)]:
        parts[at] += 1
    return parts


class Worth(NamedTuple):
    """What goods or shipping are worth: what the buyer pays without tax, the tax, the commission, what the platform took off."""

    net: int = 0
    tax: int = 0
    commission: int = 0
    promotion: int = 0

    @property
    def amount(self) -> int:
        return self.net + self.tax

    def plus(self, other: "Worth", sign: int = 1) -> "Worth":
        return Worth(*(a + sign * b for a, b in zip(self, other, strict=True)))

    def cut_to(self, amount: int) -> "Worth":
        """So much of it that the buyer's amount is this."""
        if amount == self.amount or not self.amount:
            return self
        tax, commission, promotion = (round_half_up(one * Fraction(amount, self.amount)) for one in self[1:])
        return Worth(amount - tax, tax, commission, promotion)


def total(worths: Iterable[Worth]) -> Worth:
    whole = Worth()
    for one in worths:
        whole = whole.plus(one)
    return whole


class Gift(NamedTuple):
    """Who gives a refund: so much to the buyer, of which `funds` was still set aside, and what the giver bears (below zero: gets back)."""

    seller: str | None
    amount: int
    funds: int = 0
    borne: Worth = Worth()


@dataclass
class Line:
    sku: str
    quantity: int
    worth: Worth
    packed: int = 0
    shipped: int = 0
    delivered: int = 0
    canceled: int = 0
    return_open: int = 0
    returned: int = 0

    @property
    def seller(self) -> str:
        return OFFERS[self.sku][0]

    def first(self, pieces: int) -> Worth:
        share = Fraction(pieces, self.quantity)
        paid = self.worth.cut_to(round_half_up(self.worth.amount * share)) if pieces else Worth()
        commission, promotion = (round_half_up(one * share) for one in self.worth[2:])
        return paid._replace(commission=commission, promotion=promotion)


@dataclass
class Order:
    buyer: str
    lines: dict[str, Line]
    freight: dict[str, Worth]
    coupon: str | None
    status: str = "draft"
    paid_from: str = ""
    earned: int = 0
    refunded: int = 0
    gifts: list[Gift] = field(default_factory=list)
    terms: dict[str, tuple[Fraction, bool]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.worth_of(seller).amount for seller in self.freight)

    @property
    def funds(self) -> int:
        return self.total - self.earned - sum(gift.funds for gift in self.gifts)

    def own(self, seller: str) -> list[Line]:
        return [line for line in self.lines.values() if line.seller == seller]

    def worth_of(self, seller: str) -> Worth:
        return total(line.worth for line in self.own(seller)).plus(self.freight[seller])

    def left_of(self, seller: str) -> Worth:
        """What of a sale has not gone back: what its seller bore in its own parts, what was cancelled in proportion."""
        worth = left = self.worth_of(seller)
        for gift in self.gifts:
            if gift.seller == seller:
                out = min(gift.amount, gift.funds)
                left = left.plus(gift.borne, -1).plus(worth.cut_to(out) if out else Worth(), -1)
        amount, tax, commission, promotion = (max(one, 0) for one in (left.amount, left.tax, left.commission, left.promotion))
        return Worth(amount - min(tax, amount), min(tax, amount), commission, promotion)

    def sent_of(self, seller: str) -> Worth:
        """What has left is earned, and with the first of it the shipping."""
        lines = self.own(seller)
        freight = self.freight[seller] if any(one.shipped for one in lines) else Worth()
        return total(line.first(line.shipped) for line in lines).plus(freight)

    def canceled_of(self, seller: str) -> Worth:
        lines = self.own(seller)
        gone = total(line.worth.plus(line.first(line.quantity - line.canceled), -1) for line in lines)
        return gone.plus(self.freight[seller] if all(one.canceled == one.quantity for one in lines) else Worth())

    def is_back(self, seller: str) -> bool:
        lines = self.own(seller)
        return any(one.returned for one in lines) and all(one.returned + one.canceled == one.quantity for one in lines)

    @property
    def payment_status(self) -> str:
        if not self.paid_from:
            return "none" if self.status == "draft" else "voided"
        return "refunded" if self.refunded >= self.total else "partially_refunded" if self.refunded else "paid"

    @property
    def fulfillment_status(self) -> str:
        """The first that is true of all lines."""
        counted = ("quantity", "shipped", "delivered", "canceled", "returned")
        quantity, shipped, delivered, canceled, returned = (sum(getattr(line, name) for line in self.lines.values()) for name in counted)
        left = quantity - canceled
        stages = {"canceled": left == 0, "returned": 0 < returned == left, "delivered": delivered == left, "fulfilled": shipped == left}
        return next((stage for stage, reached in stages.items() if reached), "partial" if shipped else "unfulfilled")


def tax_apart(paid: int, country: str) -> tuple[int, int]:
    """A price without its tax, and the tax: inside of the price in one country, on top of it in the other."""
    rate = TAX[country]
    if country == TAX_INSIDE:
        tax = round_half_up(paid * rate / (1 + rate))
        return paid - tax, tax
    return paid, round_half_up(paid * rate)
