"""Amounts as Stripe counts them, and as we do."""

from souk.kit.money import Money

# Stripe counts these in hundredths although nobody else does any more.
HUNDREDTHS = frozenset({"ISK", "UGX"})


def to_stripe(money: Money) -> int:
    """An amount as Stripe counts it."""
    return money.amount * 100 if money.currency in HUNDREDTHS else money.amount


def from_stripe(amount: int, currency: str) -> Money:
    """An amount as we count it."""
    code = currency.upper()
    return Money(amount // 100 if code in HUNDREDTHS else amount, code)
