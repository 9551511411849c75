"""Fill an empty shop with the demo: people, sellers, stores, stock, taxes, a coupon, and goods last of all."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from souk import catalog, inventory, payments, pricing, shipping, users
from souk.demo.catalogue import SELLERS, DemoProduct, make_catalogue
from souk.kit.callers import Caller, Principal, asking
from souk.kit.money import Money

CURRENCY = "USD"
STORES = (("Leipzig", "DE", 60), ("Lyon", "FR", 40))
# Standard rates of value added tax in 2026; a shop sets its own.
TAXES = (("DE", 190_000), ("FR", 200_000), ("GB", 200_000), ("NL", 210_000), ("ES", 210_000), ("IT", 220_000))
COUPON = "WELCOME10"
LOGINS = "demo-logins.txt"

Report = Callable[[str], None]


class Login(msgspec.Struct, frozen=True):
    """Somebody who can sign in to the demo."""

    email: str
    password: str
    role: users.Role


async def seed_demo(home: Path, report: Report) -> None:
    """Make the demo, as the system. A shop with goods or with people of its own is left alone; an interrupted seed is done again.

    Goods are written last and all at once: as long as there are none, the seed is not complete.
    """
    if await has_content():
        return
    report("Filling the demo shop")
    logins = await make_people(home)
    await payments.allow_test_gateway()
    await pricing.set_tax_rates(
        tuple(pricing.NewTaxRate(country=country, name="Value added tax", rate_ppm=rate_ppm) for country, rate_ppm in TAXES)
    )
    await make_shipping()
    await make_coupon()
    goods = list(make_catalogue())
    sellers = await make_sellers(goods, logins)
    await make_goods(goods, sellers)
    report(f"Made {len(goods)} products of {len(sellers)} sellers. The logins, also in {home / LOGINS}:")
    for login in logins:
        report(f"  {login.role:7} {login.email:22} {login.password}")


async def has_content() -> bool:
    """Whether there are goods, or people who are not the demo's."""
    products = await catalog.list_products(catalog.ProductFilter(), 1, None)
    people = await users.list_users(None, 10, None)
    return bool(products.items) or any(not user.email.endswith("@demo.example") for user in people.items)


async def make_people(home: Path) -> tuple[Login, ...]:
    """An admin, a seller and a buyer, with passwords that only this shop's folder knows."""
    file = home / LOGINS
    logins = read_logins(file)
    if not logins:
        logins = tuple(Login(f"{role}@demo.example", secrets.token_urlsafe(9), role) for role in ("admin", "seller", "buyer"))
        write_logins(file, logins)
    known = {user.email for user in (await users.list_users(None, 10, None)).items}
    for login in logins:
        if login.email not in known:
            await users.create_user(login.email, login.password, (login.role,))
    return logins


def read_logins(file: Path) -> tuple[Login, ...]:
    if not file.exists():
        return ()
    lines = (line.split() for line in file.read_text().splitlines() if line)
    return msgspec.convert([dict(zip(Login.__struct_fields__, parts, strict=True)) for parts in lines], tuple[Login, ...])


def write_logins(file: Path, logins: tuple[Login, ...]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as new:
        new.writelines(f"{login.email} {login.password} {login.role}\n" for login in logins)


async def make_shipping() -> None:
    """Two ways to ship everywhere; the slow one is free from 100.00 on."""
    if await shipping.list_zones(None, 1):
        return
    standard = (
        shipping.ZoneRate(Money(490, CURRENCY), total_below=10_000),
        shipping.ZoneRate(Money(0, CURRENCY), total_from=10_000),
    )
    express = (
        shipping.ZoneRate(Money(1490, CURRENCY), weight_below_g=2000),
        shipping.ZoneRate(Money(2490, CURRENCY), weight_from_g=2000),
    )
    methods = (shipping.Method("standard", "Standard", 3, 5, standard), shipping.Method("express", "Express", 1, 2, express))
    await shipping.create_zone(shipping.NewZone(name="Everywhere", methods=methods))


async def make_coupon() -> None:
    """Ten per cent off for everybody, once each, paid for by the platform."""
    if not await pricing.list_coupons(None, 1):
        terms = pricing.NewCoupon(name="Welcome", kind="percentage", rate_ppm=100_000, code=COUPON, usage_limit_per_buyer=1)
        await pricing.create_coupon(terms)


async def make_sellers(goods: list[DemoProduct], logins: tuple[Login, ...]) -> tuple[UUID, ...]:
    """Approved sellers, each with two stores that hold their goods; all of them belong to the demo's seller."""
    owner = next(login for login in logins if login.role == "seller")
    (owner_id,) = [user.id for user in (await users.list_users(None, 10, None)).items if user.email == owner.email]
    with asking(Caller(Principal("user", owner_id, ("seller",)), request_id="demo")):
        known = {seller.name: seller for seller in (await users.list_sellers(None, True, 50, None)).items}
        applied = [known.get(name) or await users.apply_as_seller(users.SellerFields(name)) for name in SELLERS]
    for number, seller in enumerate(applied):
        if seller.status != "approved":
            await users.approve_seller(seller.id)
        await make_stores(seller.id, [variant.sku for product in goods if product.seller == number for variant in product.variants])
    return tuple(seller.id for seller in applied)


async def make_stores(seller_id: UUID, skus: list[str]) -> None:
    """Two stores with stock; every seventeenth SKU is rare, so that the demo has something that sells out."""
    stores = {store.name: store for store in (await inventory.list_stores(seller_id, 10, None)).items}
    for place, country, pieces in STORES:
        store = stores.get(place) or await inventory.create_store(inventory.NewStore(place, country, seller_id=seller_id))
        counts = tuple(inventory.StockCount(store.id, sku, 2 if number % 17 == 0 else pieces) for number, sku in enumerate(skus))
        await inventory.set_stock_levels(counts)


async def make_goods(goods: list[DemoProduct], sellers: tuple[UUID, ...]) -> None:
    """The category tree and the products, published."""
    places = {path: await catalog.ensure_category(path) for path in dict.fromkeys(product.category for product in goods)}
    await catalog.create_products(
        tuple(
            catalog.NewProduct(
                name=product.name,
                description=product.description,
                brand=product.brand,
                category_id=places[product.category].id,
                seller_id=sellers[product.seller],
                status="published",
                variants=tuple(
                    catalog.NewVariant(
                        sku=variant.sku,
                        name=variant.name,
                        attributes=dict(variant.attributes),
                        prices=(catalog.Price(variant.price_cents, CURRENCY),),
                        weight_g=variant.weight_g,
                    )
                    for variant in product.variants
                ),
            )
            for product in goods
        )
    )
