"""What is going to be written down of an order, and what of it may become another before it is paid."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from souk import payments, pricing
from souk.kit.money import Money
from souk.orders.types import Address, OrderItem


class DraftLine(msgspec.Struct, frozen=True):
    """A line that is to be written down, with the discounts that were applied to it, the platform's share, and what it is filed under."""

    item: OrderItem
    discounts: tuple[pricing.AppliedDiscount, ...] = ()
    commission: int = 0
    category_ids: tuple[UUID, ...] = ()

    @property
    def platform_discount(self) -> int:
        """What the platform took off at its own cost."""
        return by_platform(self.discounts)


class DraftPart(msgspec.Struct, frozen=True):
    """A seller's part that is to be written down; amounts in the order's currency."""

    seller_id: UUID
    shipping_option: str | None
    shipping: int
    tax: int
    total: int
    commission: int
    platform_discount: int


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is to be written down. `placed_at` is given for one that was made elsewhere."""

    order_id: UUID
    lines: tuple[DraftLine, ...]
    parts: tuple[DraftPart, ...]
    currency: str
    subtotal: int
    discount: int
    shipping: int
    tax: int
    total: int
    tax_included: bool
    subject: str
    key: str | None
    fingerprint: bytes
    expires_at: datetime
    cart_id: UUID | None = None
    user_id: UUID | None = None
    guest_token_hash: bytes | None = None
    email: str | None = None
    coupon: str | None = None
    coupon_discount: int = 0
    country: str | None = None
    shipping_address: Address | None = None
    note: str | None = None
    placed_at: datetime | None = None


class ChangedLine(msgspec.Struct, frozen=True):
    """What a line of an order costs after a change."""

    id: UUID
    discount: int
    tax: int
    tax_rate_ppm: int
    total: int
    commission: int
    platform_discount: int
    discounts: tuple[pricing.AppliedDiscount, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an order that is not paid yet is to be: it is written down before the payment is asked, and done by whoever goes on."""

    shipping_address: dict[str, object]
    country: str
    discount: int
    shipping: int
    tax: int
    total: int
    tax_included: bool
    coupon_discount: int
    lines: tuple[ChangedLine, ...]
    parts: tuple[DraftPart, ...]
    by: UUID | None


def by_platform(discounts: Iterable[pricing.AppliedDiscount]) -> int:
    """What of these discounts the platform bears."""
    return sum(one.amount.amount for one in discounts if one.funded_by == "platform")


def parts_to_pay(parts: Iterable[DraftPart], currency: str) -> tuple[payments.PaymentPart, ...]:
    """Whose money the payment of these parts will be."""
    return tuple(
        payments.PaymentPart(
            seller_id=part.seller_id,
            amount=Money(part.total, currency),
            tax=Money(part.tax, currency),
            commission=Money(part.commission, currency),
            platform_discount=Money(part.platform_discount, currency),
        )
        for part in parts
    )
