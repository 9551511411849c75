"""A market for tests of orders: sellers with goods, buyers with carts, and who asks."""

from contextlib import AbstractContextManager
from uuid import UUID

from tests.conftest import asked_by

from souk import carts, catalog, inventory, orders, payments, pricing, shipping, users
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.ids import new_id
from souk.kit.money import Money

ADDRESS = orders.Address(name="Ada", line1="1 Main St", city="Berlin", postal_code="10115", country="DE")


def as_system() -> AbstractContextManager[None]:
    return asking(Caller(principal=SYSTEM, request_id="test"))


def as_buyer(user_id: UUID, key: str | None = None) -> AbstractContextManager[None]:
    """Whatever runs inside is asked for by this buyer, with this Idempotency-Key."""
    return asking(Caller(Principal("user", user_id, ("buyer",)), request_id="test", idempotency_key=key))


def as_guest(token: str | None = None) -> AbstractContextManager[None]:
    """Whatever runs inside is asked for by somebody without a name, with this token."""
    return asking(Caller(request_id="test", guest_token=token))


async def open_market() -> None:
    """A shop that takes test cards, ships everywhere for 5.00 and collects 19 % in Germany, inside the prices or not as it is set."""
    with as_system():
        await payments.allow_test_gateway()
        await pricing.set_tax_rates((pricing.NewTaxRate(country="DE", name="VAT", rate_ppm=190_000),))
        methods = (
            shipping.Method("standard", "Standard", 2, 4, (shipping.ZoneRate(Money(500, "USD")),)),
            shipping.Method("express", "Express", 1, 1, (shipping.ZoneRate(Money(1500, "USD")),)),
        )
        await shipping.create_zone(shipping.NewZone(name="World", methods=methods))


async def make_seller(name: str = "Lighthouse") -> UUID:
    """An approved seller."""
    owner = new_id()
    with as_system():
        (owner,) = await users.register_users((users.NewUser(id=owner, email=f"{owner}@sellers.example"),))
    with asked_by("buyer", user_id=owner):
        seller = await users.apply_as_seller(users.SellerFields(name))
    with as_system():
        await users.approve_seller(seller.id)
    return seller.id


async def put_on_sale(sku: str, cents: int, pieces: int, seller_id: UUID) -> UUID:
    """A published product with one variant and stock; the product's id."""
    with as_system():
        (product,) = await catalog.create_products(
            (
                catalog.NewProduct(
                    name=f"A {sku.lower()}",
                    seller_id=seller_id,
                    status="published",
                    variants=(catalog.NewVariant(sku, (catalog.Price(cents, "USD"),), weight_g=300),),
                ),
            )
        )
        store = await inventory.create_store(inventory.NewStore("A store", "DE", seller_id=seller_id))
        await inventory.set_stock_levels((inventory.StockCount(store.id, sku, pieces),))
    return product.id


async def fill_cart(user_id: UUID, *lines: tuple[str, int]) -> UUID:
    """A cart of this buyer."""
    with as_buyer(user_id):
        cart = await carts.create_cart(carts.NewCart(tuple(carts.NewItem(sku, quantity) for sku, quantity in lines)))
    return cart.id


async def available(sku: str) -> int:
    with as_system():
        return sum(row.available for row in await inventory.get_availability((sku,)))


def buy(cart_id: UUID, token: str | None = "tok_visa", **more: object) -> orders.PlaceOrder:
    """The request to order a cart, paid by card unless the token is None."""
    payment = orders.PaymentChoice("card", token) if token else None
    return orders.PlaceOrder(cart_id=cart_id, shipping_address=ADDRESS, payment=payment, **more)  # type: ignore[arg-type]
