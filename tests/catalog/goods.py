"""Goods for tests, and whoever lists them."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from tests.conftest import asked_by

from souk import catalog
from souk.catalog.database import db
from souk.catalog.types import NewProduct, NewVariant, Price
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id

SELLER = new_id()


def as_seller(seller_id: UUID = SELLER) -> AbstractContextManager[None]:
    return asked_by("seller", sells_for=(seller_id,))


def as_admin() -> AbstractContextManager[None]:
    return asked_by("admin")


def as_system() -> AbstractContextManager[None]:
    return asking(Caller(SYSTEM, request_id="test"))


def variant(sku: str, cents: int = 1900, **fields: object) -> NewVariant:
    return NewVariant(sku, (Price(cents, "USD"),), **fields)


def mug(sku: str = "MUG", cents: int = 1900, **fields: object) -> NewProduct:
    """A product with one variant, on sale."""
    given = {"name": "Stoneware mug", "variants": (variant(sku, cents),), "status": "published"} | fields
    return NewProduct(**given)


async def create(*new: NewProduct, seller_id: UUID = SELLER) -> tuple[catalog.Product, ...]:
    with as_seller(seller_id):
        return await catalog.create_products(new)


async def warm_up(connections: int = 8) -> None:
    """Have connections at hand: callers that first have to open one come one after the other."""
    await asyncio.gather(*(db.value("SELECT 1 FROM pg_sleep(0.1)") for _ in range(connections)))


async def announced(kind: str) -> list[dict]:
    """The events of this kind, in their order."""
    async with db.transaction() as tx:
        rows = await tx.connection.fetch("SELECT payload FROM catalog.outbox WHERE type = $1 ORDER BY xid, id", f"catalog.{kind}")
    return [row["payload"] for row in rows]


def names(items: Sequence[catalog.ProductSummary]) -> list[str]:
    return [item.name for item in items]
