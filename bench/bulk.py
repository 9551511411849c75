"""A shop that has grown: what was really made and bought in a small one, multiplied by SQL into the months before."""

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from bench import load, purchases
from bench.shop import Goods, Stock, filled, served, sign_tokens
from souk import app
from souk.kit.partitions import MONTHS_AHEAD, add_partitions, month_start

PAST_MONTHS = 6
MONTH_MS = 30 * 24 * 3600 * 1000
PAST_MS = PAST_MONTHS * MONTH_MS
MOST_TOKENS = 50_000
# Copies are made from the oldest to the newest, as a shop grows; so many of a shop's copies at once.
STEPS = 50

# A copy of a UUIDv7 is that much earlier. (Its time has had eleven digits since 2004.)
HALVES = "('x' || left(replace({column}::text, '-', ''), 12))::bit(48)::bigint AS {column}_at, right({column}::text, 23) AS {column}_end"
FIND_COLUMNS = """
    SELECT a.attname AS name, format_type(a.atttypid, NULL) AS kind
    FROM pg_attribute AS a
    WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ORDER BY a.attnum
"""
# What the copies moved, told to the rows that are shared by them.
SET_RESERVED = """
    UPDATE inventory.stock AS s SET reserved = l.pieces, version = s.version + 1
    FROM (
        SELECT line.sku, line.store_id, sum(line.quantity - line.shipped) AS pieces
        FROM inventory.reservation AS r JOIN inventory.reservation_line AS line USING (order_id)
        WHERE r.status IN ('held', 'confirmed') GROUP BY line.sku, line.store_id
    ) AS l
    WHERE l.sku = s.sku AND l.store_id = s.store_id AND s.reserved <> l.pieces
"""
SET_AVAILABLE = """
    UPDATE catalog.stock_level AS l SET available = s.on_hand - s.reserved, version = s.version
    FROM inventory.stock AS s
    WHERE s.sku = l.sku AND s.store_id = l.store_id AND (l.available, l.version) <> (s.on_hand - s.reserved, s.version)
"""
SET_BALANCES = """
    UPDATE payments.account AS a SET balance = t.amount
    FROM (
        SELECT side.id, sum(side.amount) AS amount
        FROM (SELECT debit_id AS id, -sum(amount) AS amount FROM payments.transfer GROUP BY debit_id
              UNION ALL SELECT credit_id, sum(amount) FROM payments.transfer GROUP BY credit_id) AS side
        GROUP BY side.id
    ) AS t
    WHERE t.id = a.id
"""
SET_USES = """
    UPDATE pricing.promotion AS p SET uses = r.uses, spent = r.spent
    FROM (
        SELECT promotion_id, count(*) AS uses, sum(discount) AS spent
        FROM pricing.redemption WHERE status = 'redeemed' GROUP BY promotion_id
    ) AS r
    WHERE r.promotion_id = p.id
"""

SET_USES_OF_BUYERS = """
    INSERT INTO pricing.buyer_usage AS b (promotion_id, buyer, uses)
    SELECT promotion_id, buyer, count(*) FROM pricing.redemption WHERE status = 'redeemed' GROUP BY promotion_id, buyer
    ON CONFLICT (promotion_id, buyer) DO UPDATE SET uses = excluded.uses
"""
SET_CARTS = """
    INSERT INTO carts.current_cart (user_id, cart_id)
    SELECT DISTINCT ON (user_id) user_id, id FROM carts.cart ORDER BY user_id, id DESC
    ON CONFLICT (user_id) DO NOTHING
"""
# The pieces that are set aside, the money that moved, the coupons that were used: counted once for all copies.
SUMS = (SET_RESERVED, SET_AVAILABLE, SET_BALANCES, SET_USES, SET_USES_OF_BUYERS, SET_CARTS)
COUNT = """
    SELECT (SELECT count(*) FROM catalog.product) AS products, (SELECT count(*) FROM orders.orders) AS orders,
           (SELECT count(*) FROM users.users WHERE email LIKE 'buyer%') AS buyers
"""
FIND_GOODS = "SELECT product_id::text, sku FROM catalog.variant ORDER BY product_id"
FIND_BUYERS = "SELECT id FROM users.users WHERE email LIKE 'buyer%' ORDER BY md5(id::text) LIMIT $1"


class Growth(msgspec.Struct, frozen=True):
    """How many products, orders and buyers there are to be, and how many of each are really made first."""

    products: int
    orders: int
    buyers: int
    real_products: int = 2_000
    real_orders: int = 1_000
    real_buyers: int = 1_000


class Table(msgspec.Struct, frozen=True):
    """A table whose rows are copied: which rows, for how long the shop keeps them, and columns that are copied in a way of their own.

    `buyers` are texts that are a buyer's id, what is `left_out` gets its default.
    """

    name: str
    where: str = "true"
    months: float = PAST_MONTHS
    columns: dict[str, str] = {}
    buyers: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Times(msgspec.Struct, frozen=True):
    """How often each kind of thing is to be there, the one that was really made included."""

    products: int
    orders: int
    buyers: int


# In every table the same column means the same thing.
OF_PRODUCT = ("product_id", "variant_id")
OF_BUYER = ("user_id", "actor_id")
SHARED = ("seller_id", "store_id", "other_store_id", "category_id", "debit_id", "credit_id", "promotion_id")

PRODUCTS = (
    Table("catalog.product", columns={"name": "t.name || ' ' || product"}),
    Table("catalog.product_category"),
    Table("catalog.variant"),
    Table("catalog.price"),
    Table("catalog.lowest_price"),
    Table("catalog.stock_level"),
    Table("inventory.item"),
    Table("inventory.stock", columns={"reserved": "0"}),
    Table("inventory.movement"),
)
BUYERS = (Table("users.users", "email LIKE 'buyer%'", columns={"email": "t.email || '.' || buyer"}),)
ORDERS = (
    Table("orders.orders", left_out=("number",)),
    Table("orders.order_line"),
    Table("orders.order_part"),
    Table("orders.timeline"),
    # Sagas that ended are kept for a month.
    Table("orders.placement", months=0.9, buyers=("subject",)),
    Table("payments.payment"),
    # Transfers name the attempt in their reference, so it keeps its id; that of its payment comes first in the key.
    Table("payments.attempt", columns={"id": "t.id"}),
    Table("payments.transfer"),
    Table("pricing.redemption", buyers=("buyer",)),
    Table("inventory.reservation"),
    Table("inventory.reservation_line"),
    Table("carts.cart"),
    Table("carts.cart_item"),
    Table("catalog.product_view"),
    Table("users.user_activity"),
)


@contextmanager
def grown(home: Path, growth: Growth, port: int) -> Iterator[tuple[str, Goods]]:
    """A new shop's database with this much in it, running as long as this block; its address and its goods."""
    real_products = min(growth.products, growth.real_products)
    real_buyers = min(growth.buyers, growth.real_buyers)
    with filled(home, Stock(real_products), real_buyers) as (dsn, goods):
        with served(dsn, port, workers=1):
            uvloop.run(buy_some(dsn, port, goods, min(growth.orders, growth.real_orders)))
        began = time.perf_counter()
        uvloop.run(multiply(dsn, growth))
        all_goods = uvloop.run(read_goods(dsn, growth.buyers))
        print(f"grown in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        yield dsn, all_goods


async def buy_some(dsn: str, port: int, goods: Goods, count: int) -> None:
    """Make so many purchases, as buyers do."""
    visit = purchases.shoppers(goods, random.Random(3))(float("inf"))
    left = itertools.repeat(None, count)
    tally = await load.run(port, 16, lambda: visit() if next(left, True) is None else None)
    if tally.failed:
        raise RuntimeError(f"{tally.failed} purchases failed: {tally.problems.most_common(3)}")
    connection = await asyncpg.connect(dsn)
    await purchases.until_quiet(connection)
    await connection.close()


async def multiply(dsn: str, growth: Growth) -> None:
    """Copy what is there until there is as much as wanted, at the nearest multiple."""
    connection = await asyncpg.connect(dsn)
    await add_past_partitions(connection)
    there = await connection.fetchrow(COUNT)
    times = Times(*(max(1, round(wanted / there[name])) for name, wanted in msgspec.structs.asdict(growth).items() if name in there))
    await set_autovacuum(connection, "off")
    await asyncio.gather(copy_products(dsn, times), copy_orders(dsn, times))
    await connection.execute("SET session_replication_role = replica")
    for statement in SUMS:
        await connection.execute(statement)
    await connection.execute("VACUUM (ANALYZE)")
    await set_autovacuum(connection, "on")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def set_autovacuum(connection: asyncpg.Connection, value: str) -> None:
    """For the server of the bench: while rows pour in it would read the same tables again and again."""
    await connection.execute(f"ALTER SYSTEM SET autovacuum = {value}")
    await connection.execute("SELECT pg_reload_conf()")


async def copy_products(dsn: str, times: Times) -> None:
    await copy(dsn, PRODUCTS, times.products, times)


async def copy_orders(dsn: str, times: Times) -> None:
    await copy(dsn, BUYERS, times.buyers, times)
    await copy(dsn, ORDERS, times.orders, times)


async def copy(dsn: str, tables: tuple[Table, ...], count: int, times: Times) -> None:
    """Make the copies of what lies in these tables until it is there so many times; triggers and foreign keys sleep."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '64MB'")
    statements = [await prepare_copy(connection, table, count, times) for table in tables]
    at_once = max(1, count // STEPS)
    for newest in range((count - 1) // at_once * at_once, -1, -at_once):
        for statement in statements:
            await connection.execute(statement, max(newest, 1), min(newest + at_once, count) - 1)
    await connection.close()


async def prepare_copy(connection: asyncpg.Connection, table: Table, count: int, times: Times) -> str:
    """Keep aside the rows that are really there; the statement that writes the copies from one number to another of them."""
    kinds = {row["name"]: row["kind"] for row in await connection.fetch(FIND_COLUMNS, table.name)}
    halves = "".join(", " + HALVES.format(column=name) for name, kind in kinds.items() if kind == "uuid" or name in table.buyers)
    template = table.name.replace(".", "_")
    await connection.execute(f"CREATE TEMP TABLE {template} AS SELECT t.*{halves} FROM {table.name} AS t WHERE {table.where}")
    copies = {name: table.columns.get(name) or copy_of(name, kind, table) for name, kind in kinds.items() if name not in table.left_out}
    step = PAST_MS // count
    return f"""
        INSERT INTO {table.name} ({", ".join(copies)})
        SELECT {", ".join(copies.values())}
        FROM (
            SELECT n, n * {step}::bigint AS ms,
                   n % {times.products} AS product, n % {times.products} * {PAST_MS // times.products}::bigint AS product_ms,
                   n % {times.buyers} AS buyer, n % {times.buyers} * {PAST_MS // times.buyers}::bigint AS buyer_ms
            FROM generate_series($1::int, $2::int) AS n
            WHERE n * {step}::bigint < {int(table.months * MONTH_MS)}
        ) AS c CROSS JOIN {template} AS t
        ORDER BY n DESC
    """


def copy_of(column: str, kind: str, table: Table) -> str:
    """What stands in a column of a copy; the same copy of an id is the same id in every table."""
    if column == "sku":
        return "t.sku || CASE product WHEN 0 THEN '' ELSE '-' || product END"
    if kind == "timestamp with time zone":
        return f"t.{column} - ms * interval '1 millisecond'"
    if column in SHARED or (kind != "uuid" and column not in table.buyers):
        return f"t.{column}"
    of_buyer = column in OF_BUYER or column in table.buyers
    ms = "product_ms" if column in OF_PRODUCT else "buyer_ms" if of_buyer else "ms"
    return f"('0' || to_hex({column}_at - {ms}) || {column}_end)::{kind}"


async def add_past_partitions(connection: asyncpg.Connection) -> None:
    """Partitions for the months before, as they would be there had the shop been open."""
    now = datetime.now(UTC)
    for months in range(0, PAST_MONTHS + MONTHS_AHEAD, MONTHS_AHEAD + 1):
        for context in app.CONTEXTS:
            await add_partitions(connection, context, month_start(now, -months - 1) + timedelta(days=1))


async def read_goods(dsn: str, buyers: int) -> Goods:
    """All products, and tokens of some of the buyers."""
    connection = await asyncpg.connect(dsn)
    goods = await connection.fetch(FIND_GOODS)
    ids = [row["id"] for row in await connection.fetch(FIND_BUYERS, min(buyers, MOST_TOKENS))]
    await connection.close()
    async with app.opened(app.read_shop(app.CONTEXTS, dsn)):
        tokens = await sign_tokens(ids)
    return Goods(tuple(row["product_id"] for row in goods), tuple(row["sku"] for row in goods), tokens=tokens)
