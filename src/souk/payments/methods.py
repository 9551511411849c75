"""Which ways to pay this shop offers, and which gateway is behind each of them."""

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.payments.database import db
from souk.payments.gateways import gateways
from souk.payments.settings import settings
from souk.payments.types import MethodNotOffered, PaymentMethod

IS_DEMO = "SELECT EXISTS (SELECT FROM payments.demo)"
MARK_DEMO = "INSERT INTO payments.demo DEFAULT VALUES ON CONFLICT DO NOTHING"

# Gateways without a provider: what comes of an attempt is known at once, in the transaction that records it.
TEST, WALLET, EXTERNAL = "test", "wallet", "external"
INSTANT = (TEST, WALLET, EXTERNAL)

# Of several that can charge a card the first that is set up does.
CARDS = (
    PaymentMethod("card", "stripe", "Card", needs_token=True, needs_return_url=True),
    PaymentMethod("card", "sandbox", "Card", needs_token=True),
    PaymentMethod("card", TEST, "Card", needs_token=True),
)
OTHERS = (
    PaymentMethod("paypal", "paypal", "PayPal", needs_return_url=True),
    PaymentMethod("redirect", "redirect", "Sandbox app", needs_return_url=True),
)
STORED = PaymentMethod(WALLET, WALLET, "Wallet")
RECORDED = PaymentMethod(EXTERNAL, EXTERNAL, "Paid elsewhere")


@exposed()
async def list_payment_methods() -> tuple[PaymentMethod, ...]:
    """The ways to pay that the shop offers now, a card first if there is one."""
    return offered(await is_demo())


@exposed()
async def allow_test_gateway() -> None:
    """Mark this shop as a demo, in which the in-process test gateway takes money that does not exist. For the seed alone."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        await tx.run(MARK_DEMO)


async def is_demo() -> bool:
    """Whether the in-process test gateway may be used. A shop that is a demo stays one, so that it is asked only until then."""
    if settings.now.test_gateway or IS_DEMO in db.seen:
        return True
    if await db.value(IS_DEMO):
        db.seen.add(IS_DEMO)
    return IS_DEMO in db.seen


def offered(demo: bool) -> tuple[PaymentMethod, ...]:
    """The methods whose gateways are set up."""
    ready = {*gateways(), *((TEST,) if demo else ())}
    cards = tuple(method for method in CARDS if method.gateway in ready)[:1]
    public_key = settings.now.stripe_public_key or None
    return (
        *(msgspec.structs.replace(card, public_key=public_key) if card.gateway == "stripe" else card for card in cards),
        *(method for method in OTHERS if method.gateway in ready),
        STORED,
    )


def find_method(name: str, *, demo: bool, trusted: bool) -> PaymentMethod:
    """A method by its name or by its gateway's; raises MethodNotOffered.

    Only an admin, or the shop itself, may say that an order was paid elsewhere.
    """
    ready = {*gateways(), *((TEST,) if demo else ())}
    known = (*offered(demo), *(RECORDED,) * trusted, *(method for method in (*CARDS, *OTHERS) if method.gateway in ready))
    for method in known:
        if name in (method.method, method.gateway):
            return method
    raise MethodNotOffered(name)
