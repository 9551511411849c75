"""Bring a history into the shop: its seller, products, buyers and stock, then every sale and every return, in the order of time."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec

from souk import catalog, inventory, orders, users
from souk.kit.callers import Caller, Principal, asking
from souk.kit.ids import derive_id
from souk.kit.money import Money
from souk.replay.history import History, Invoice, Return, read_lines, tell_apart

T = TypeVar("T")

# Ids of what has no time of its own in the file.
EPOCH = datetime(2010, 12, 1, tzinfo=UTC)
CURRENCY = "GBP"
SELLER = "Online Retail"
OWNER_EMAIL = "online-retail@replay.invalid"
AT_ONCE = 100
CHUNK = 500
# How long refunds that are made may take to be written on their orders.
CATCH_UP_S = 60.0

Tell = Callable[[str, int, int], None]


class Replayed(msgspec.Struct, frozen=True):
    """What the shop has in its books at the end: pence per month and country, and lines that were left out by reason."""

    revenue: dict[str, dict[str, int]]
    refunds: dict[str, dict[str, int]]
    left_out: dict[str, int]
    orders: int
    refunded_lines: int


class Goods(msgspec.Struct, frozen=True):
    """A product of the history, in the shop."""

    product_id: UUID
    variant_id: UUID
    name: str


async def replay_file(file: Path, tell: Tell) -> Replayed:
    """Sell the history in a file. What was done by an earlier run that was interrupted is not done again."""
    tell("Reading the file", 0, 1)
    history = tell_apart(read_lines(file))
    seller_id = await ensure_seller()
    goods = await ensure_products(history, seller_id, tell)
    await ensure_buyers(history, tell)
    done = await find_done(history)
    if len(done) < len(history.invoices):  # what came back is in stock already, once all is sold
        await put_stock(history, seller_id, done, tell)
    left = [invoice for invoice in history.invoices if order_id_of(invoice) not in done]
    await in_parallel(left, lambda invoice: sell(invoice, goods, seller_id), tell, "Selling", len(history.invoices))
    sold_at = {invoice.invoice_no: invoice for invoice in history.invoices}
    returns = list(group_returns(history.returns, sold_at).items())
    await in_parallel(returns, lambda one: take_back(seller_id, *one), tell, "Taking back", len(returns))
    return await sum_up(history, sum(one.amount_pence for one in history.returns))


async def ensure_seller() -> UUID:
    """The seller whose history it is, made once."""
    owner = users.NewUser(id=derive_id(EPOCH, OWNER_EMAIL), email=OWNER_EMAIL, name=SELLER)
    (owner_id,) = await users.register_users((owner,))
    with asking(Caller(Principal("user", owner_id, ("buyer",)), request_id="replay")):
        mine = await users.list_sellers(None, True, 1, None)
        seller = mine.items[0] if mine.items else await users.apply_as_seller(users.SellerFields(SELLER))
    if seller.status != "approved":
        await users.approve_seller(seller.id)
    return seller.id


async def ensure_products(history: History, seller_id: UUID, tell: Tell) -> dict[str, Goods]:
    """Every stock code as a product with one variant, at the price that it was sold at most often."""
    names: defaultdict[str, Counter[str]] = defaultdict(Counter)
    prices: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for invoice in history.invoices:
        for line in invoice.lines:
            names[line.sku][line.description.strip()] += 1
            prices[line.sku][line.price_pence] += 1
    products = [
        catalog.NewProduct(
            id=derive_id(EPOCH, f"product {sku}"),
            external_id=sku,
            seller_id=seller_id,
            name=names[sku].most_common(1)[0][0] or sku,
            status="published",
            variants=(catalog.NewVariant(sku, (catalog.Price(prices[sku].most_common(1)[0][0], CURRENCY),)),),
        )
        for sku in sorted(names)
    ]
    goods: dict[str, Goods] = {}
    for done, chunk in enumerate(chunks(products), start=1):
        for product in await catalog.create_products(tuple(chunk)):
            variant = product.variants[0]
            goods[variant.sku] = Goods(product.id, variant.id, product.name)
        tell("Products", min(done * CHUNK, len(products)), len(products))
    return goods


async def ensure_buyers(history: History, tell: Tell) -> None:
    """Every customer as a buyer without a password."""
    customers = sorted({invoice.customer_id for invoice in history.invoices if invoice.customer_id is not None})
    buyers = [
        users.NewUser(id=user_id_of(number), email=f"customer-{number}@replay.invalid", name=f"Customer {number}") for number in customers
    ]
    for done, chunk in enumerate(chunks(buyers), start=1):
        await users.register_users(tuple(chunk))
        tell("Buyers", min(done * CHUNK, len(buyers)), len(buyers))


async def find_done(history: History) -> frozenset[UUID]:
    """The orders that an earlier run has completed."""
    ids = [order_id_of(invoice) for invoice in history.invoices]
    done: set[UUID] = set()
    for chunk in chunks(ids, 5000):
        done.update(await orders.find_fulfilled(tuple(chunk)))
    return frozenset(done)


async def put_stock(history: History, seller_id: UUID, done: frozenset[UUID], tell: Tell) -> None:
    """As many pieces of each SKU as are still to be sold."""
    stores = await inventory.list_stores(seller_id, 1, None)
    store = stores.items[0] if stores.items else await inventory.create_store(inventory.NewStore(SELLER, "GB", seller_id=seller_id))
    pieces: Counter[str] = Counter()
    for invoice in history.invoices:
        for line in invoice.lines:
            pieces[line.sku] += 0 if order_id_of(invoice) in done else line.quantity
    counts = [inventory.StockCount(store.id, sku, pieces[sku]) for sku in sorted(pieces)]
    for number, chunk in enumerate(chunks(counts), start=1):
        await inventory.set_stock_levels(tuple(chunk))
        tell("Stock", min(number * CHUNK, len(counts)), len(counts))


async def sell(invoice: Invoice, goods: dict[str, Goods], seller_id: UUID) -> None:
    """An invoice as an order, at the prices of its lines."""
    lines = tuple(
        orders.RecordedLine(
            product_id=goods[line.sku].product_id,
            variant_id=goods[line.sku].variant_id,
            seller_id=seller_id,
            sku=line.sku,
            name=goods[line.sku].name,
            quantity=line.quantity,
            unit_price=Money(line.price_pence, CURRENCY),
        )
        for line in invoice.lines
    )
    await orders.record_order(
        orders.RecordOrder(
            order_id=order_id_of(invoice),
            placed_at=invoice.sold_at,
            currency=CURRENCY,
            lines=lines,
            user_id=user_id_of(invoice.customer_id) if invoice.customer_id is not None else None,
            country=invoice.country,
            note=f"invoice {invoice.invoice_no}",
        )
    )


async def take_back(seller_id: UUID, key: tuple[str, UUID], returns: Sequence[Return]) -> None:
    """The pieces of one order that came back on a cancelled invoice, and their money."""
    invoice_no, order_id = key
    pieces = tuple(orders.RecordedPieces(one.line.sku, Money(one.line.price_pence, CURRENCY), one.quantity) for one in returns)
    return_id = derive_id(returns[0].line.sold_at, f"return {invoice_no} {order_id}")
    await orders.record_return(orders.RecordReturn(return_id, order_id, seller_id, pieces, f"invoice {invoice_no}"))


def group_returns(returns: Sequence[Return], sold_at: dict[str, Invoice]) -> dict[tuple[str, UUID], list[Return]]:
    """What came back per cancelled invoice and order."""
    groups: defaultdict[tuple[str, UUID], list[Return]] = defaultdict(list)
    for one in returns:
        groups[one.invoice_no, order_id_of(sold_at[one.sold_on])].append(one)
    return dict(groups)


async def sum_up(history: History, refunded_pence: int) -> Replayed:
    """What the shop's own books say, when the refunds have reached the orders."""
    ids = tuple(order_id_of(invoice) for invoice in history.invoices)
    end = asyncio.get_running_loop().time() + CATCH_UP_S
    rows = await orders.sum_revenue(ids)
    while sum(row.refunded for row in rows) < refunded_pence and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.2)
        rows = await orders.sum_revenue(ids)
    revenue: defaultdict[str, dict[str, int]] = defaultdict(dict)
    refunds: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        revenue[row.month][row.country] = row.revenue
        if row.refunded:
            refunds[row.month][row.country] = row.refunded
    return Replayed(dict(revenue), dict(refunds), history.left_out, len(ids), len(history.returns))


async def in_parallel(items: Sequence[T], work: Callable[[T], Awaitable[None]], tell: Tell, step: str, total: int) -> None:
    """Do all of it, some at once: those who ask at the same moment share their batches."""
    waiting = iter(items)
    done = total - len(items)

    async def go_on() -> None:
        nonlocal done
        for item in waiting:
            await work(item)
            done += 1
            if done % 50 == 0 or done == total:
                tell(step, done, total)

    await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))


def chunks(items: Sequence[T], size: int = CHUNK) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def order_id_of(invoice: Invoice) -> UUID:
    return derive_id(invoice.sold_at, f"invoice {invoice.invoice_no}")


def user_id_of(customer_id: int) -> UUID:
    return derive_id(EPOCH, f"customer {customer_id}")
