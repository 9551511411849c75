"""What people are told of: each kind of message, the topic by which they choose, and the channels on which it goes by default."""

from typing import Literal

import msgspec

from souk.notifications.types import Channel

# mandatory: sent whatever somebody prefers (security, the law, money). service: about what they do here, on unless they say no.
# promotion: advertising; off by one click, and never in their quiet hours.
Urgency = Literal["mandatory", "service", "promotion"]


class Topic(msgspec.Struct, frozen=True):
    """What somebody can say yes or no to, per channel."""

    name: str
    urgency: Urgency
    channels: tuple[Channel, ...]
    # May wait until several of it leave together, if its recipient wants that.
    digestible: bool = False

    @property
    def advertises(self) -> bool:
        return self.urgency == "promotion"


class Kind(msgspec.Struct, frozen=True):
    """A kind of message: its template has the same name. Of a seller's team it may be for its owners alone."""

    name: str
    topic: Topic
    owners_only: bool = False


ACCOUNT = Topic("account", "mandatory", ("email",))
WELCOME = Topic("welcome", "service", ("email", "in_app"))
SECURITY = Topic("security", "mandatory", ("email", "in_app"))
ORDER_UPDATES = Topic("order_updates", "service", ("email", "in_app"))
RETURNS = Topic("returns", "service", ("email", "in_app"))
WALLET = Topic("wallet", "service", ("in_app",))
REVIEWS = Topic("reviews", "service", ("email", "in_app"), digestible=True)
BACK_IN_STOCK = Topic("back_in_stock", "service", ("email", "in_app"))
PRICE_DROPS = Topic("price_drops", "promotion", ("email", "in_app"), digestible=True)
CART_REMINDERS = Topic("cart_reminders", "promotion", ("email",))
PROMOTIONS = Topic("promotions", "promotion", ("email", "in_app"))
RECOMMENDATIONS = Topic("recommendations", "promotion", ("email",))
SELLER_ORDERS = Topic("seller_orders", "service", ("email", "in_app"), digestible=True)
SELLER_STOCK = Topic("seller_stock", "service", ("email", "in_app"), digestible=True)
SELLER_PAYOUTS = Topic("seller_payouts", "service", ("email", "in_app"))
SELLER_ACCOUNT = Topic("seller_account", "mandatory", ("email", "in_app"))
WEBHOOKS = Topic("webhooks", "service", ("email", "in_app"))
OPERATIONS = Topic("operations", "mandatory", ("email", "in_app"))

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("verify_email", ACCOUNT),
        Kind("reset_password", ACCOUNT),
        Kind("welcome", WELCOME),
        Kind("sessions_revoked", SECURITY),
        Kind("order_placed", ORDER_UPDATES),
        Kind("order_rejected", ORDER_UPDATES),
        Kind("order_shipped", ORDER_UPDATES),
        Kind("order_delivered", ORDER_UPDATES),
        Kind("order_cancelled", ORDER_UPDATES),
        Kind("items_cancelled", ORDER_UPDATES),
        Kind("order_refunded", ORDER_UPDATES),
        Kind("order_message", ORDER_UPDATES),
        Kind("return_approved", RETURNS),
        Kind("return_refused", RETURNS),
        Kind("return_received", RETURNS),
        Kind("wallet_credited", WALLET),
        Kind("review_rejected", REVIEWS),
        Kind("review_replied", REVIEWS),
        Kind("back_in_stock", BACK_IN_STOCK),
        Kind("price_dropped", PRICE_DROPS),
        Kind("cart_abandoned", CART_REMINDERS),
        Kind("campaign", PROMOTIONS),
        Kind("announcement", PROMOTIONS),
        Kind("recommendations", RECOMMENDATIONS),
        Kind("seller_order_placed", SELLER_ORDERS),
        Kind("seller_items_cancelled", SELLER_ORDERS),
        Kind("seller_return_requested", SELLER_ORDERS),
        Kind("seller_stock_low", SELLER_STOCK),
        Kind("seller_review_posted", REVIEWS),
        Kind("seller_payout_sent", SELLER_PAYOUTS, owners_only=True),
        Kind("seller_payout_failed", SELLER_PAYOUTS, owners_only=True),
        Kind("seller_payout_account_changed", SELLER_ACCOUNT, owners_only=True),
        Kind("seller_approved", SELLER_ACCOUNT, owners_only=True),
        Kind("seller_rejected", SELLER_ACCOUNT, owners_only=True),
        Kind("seller_suspended", SELLER_ACCOUNT, owners_only=True),
        Kind("webhook_disabled", WEBHOOKS),
        Kind("seller_applied", OPERATIONS),
        Kind("alert_raised", OPERATIONS),
        Kind("alert_ended", OPERATIONS),
    )
}
TOPICS: dict[str, Topic] = {kind.topic.name: kind.topic for kind in KINDS.values()}
