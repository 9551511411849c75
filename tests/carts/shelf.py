"""What tests of carts share: goods on the shelf, and who pushes the cart."""

from contextlib import AbstractContextManager
from uuid import UUID

from souk import carts, catalog, inventory
from souk.carts.types import NewCart, NewItem
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.ids import new_id
from souk.kit.money import Money

SELLER = new_id()


def as_system() -> AbstractContextManager[None]:
    return asking(Caller(SYSTEM, request_id="test"))


def as_buyer(user_id: UUID, key: str | None = None, token: str | None = None) -> AbstractContextManager[None]:
    """Whatever runs inside is asked for by this user, with this Idempotency-Key and this guest's token."""
    return asking(Caller(Principal("user", user_id, ("buyer",)), request_id="test", idempotency_key=key, guest_token=token))


def as_guest(token: str | None = None, key: str | None = None) -> AbstractContextManager[None]:
    """Whatever runs inside is asked for by somebody who is not signed in."""
    return asking(Caller(request_id="test", idempotency_key=key, guest_token=token))


def dollars(cents: int) -> Money:
    return Money(cents, "USD")


async def put_on_shelf(sku: str, cents: int = 1000, pieces: int = 1000, **more: object) -> catalog.Product:
    """A published product with one variant, and stock."""
    prices = (catalog.Price(cents, "USD"), catalog.Price(cents, "EUR"))
    variant = catalog.NewVariant(sku, prices, name="blue")
    product = catalog.NewProduct(
        **{"name": f"A {sku.lower()}", "seller_id": SELLER, "status": "published", "variants": (variant,), **more}  # type: ignore[arg-type]
    )
    with as_system():
        (made,) = await catalog.create_products((product,))
        store = await inventory.create_store(inventory.NewStore("A store", "DE", seller_id=SELLER))
        await inventory.set_stock(inventory.StockCount(store.id, sku, pieces))
    return made


async def put_many_on_shelf(skus: list[str]) -> None:
    """A published product with all of these variants."""
    variants = tuple(catalog.NewVariant(sku, (catalog.Price(1000, "USD"),)) for sku in skus)
    with as_system():
        await catalog.create_products((catalog.NewProduct("A set", variants, seller_id=SELLER, status="published"),))


def items(*lines: tuple[str, int]) -> tuple[NewItem, ...]:
    return tuple(NewItem(sku, quantity) for sku, quantity in lines)


async def fill_cart(*lines: tuple[str, int]) -> carts.Cart:
    """A cart of whoever asks."""
    return await carts.create_cart(NewCart(items(*lines)))


def contents(cart: carts.Cart) -> dict[str, int]:
    return {item.sku: item.quantity for item in cart.items}


def token_of(cart: carts.Cart) -> str:
    assert isinstance(cart.token, str)
    return cart.token
