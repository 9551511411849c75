"""What pricing announces."""

from uuid import UUID

from souk.kit.events import Event


class CouponRedeemed(Event, frozen=True):
    """An order used a coupon."""

    promotion_id: UUID
    order_id: UUID
    code: str


class CouponRestored(Event, frozen=True):
    """An order that used a coupon will not happen: its use was given back."""

    promotion_id: UUID
    order_id: UUID
    code: str
