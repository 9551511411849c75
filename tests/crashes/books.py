"""The books after a disturbance: what buyers were told, what the processor's book says and what our rows say must agree."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import asyncpg
from tests.payments.money import BROKEN_RULES
from tests.payments.outside import Outside

from souk import app
from souk.kit.events import CONSUMERS

# Nobody is at work, nothing is due; an order that waits for its buyer is at rest.
RESTLESS = {
    "orders that are not settled": "SELECT order_id, step FROM orders.placement WHERE step IN ('completing', 'undoing')",
    "attempts to pay whose outcome is unknown": "SELECT id, created_at FROM payments.attempt WHERE status = 'pending'",
    "refunds on their way": "SELECT id FROM payments.refund WHERE status = 'pending'",
}
RULES = {
    **BROKEN_RULES,
    "what is reserved is what reservations hold": """
        SELECT s.sku FROM inventory.stock AS s WHERE s.reserved <> (
            SELECT coalesce(sum(l.quantity - l.shipped), 0)
            FROM inventory.reservation_line AS l JOIN inventory.reservation AS r USING (order_id)
            WHERE l.sku = s.sku AND l.store_id = s.store_id AND r.status IN ('held', 'confirmed'))
    """,
    "what is on hand is the sum of its movements": """
        SELECT s.sku FROM inventory.stock AS s WHERE s.on_hand <> (
            SELECT coalesce(sum(m.delta), 0) FROM inventory.movement AS m WHERE m.sku = s.sku AND m.store_id = s.store_id)
    """,
    "a placed order has its stock, and nobody else has any for good": """
        SELECT coalesce(o.order_id, r.order_id), coalesce(o.sku, r.sku) FROM (
            SELECT l.order_id, l.sku, sum(l.quantity) AS quantity FROM orders.order_line AS l JOIN orders.orders ON orders.id = l.order_id
            WHERE orders.status = 'placed' GROUP BY 1, 2) AS o
        FULL JOIN (
            SELECT l.order_id, l.sku, sum(l.quantity) AS quantity FROM inventory.reservation_line AS l
            JOIN inventory.reservation AS r USING (order_id) WHERE r.status = 'confirmed' GROUP BY 1, 2) AS r USING (order_id, sku)
        WHERE o.quantity IS DISTINCT FROM r.quantity
    """,
    "stock is held only for orders that wait": """
        SELECT r.order_id FROM inventory.reservation AS r LEFT JOIN orders.orders AS o ON o.id = r.order_id
        WHERE r.status = 'held' AND o.status IS DISTINCT FROM 'draft'
    """,
    "the catalogue shows what can be sold": """
        SELECT s.sku FROM inventory.stock AS s LEFT JOIN catalog.stock_level AS l USING (sku, store_id)
        WHERE l.available IS DISTINCT FROM s.on_hand - s.reserved
    """,
    "a coupon is used by the orders that have it": """
        SELECT o.id FROM orders.orders AS o LEFT JOIN pricing.redemption AS r ON r.order_id = o.id AND r.status = 'redeemed'
        WHERE o.status = 'placed' AND (o.coupon IS NOT NULL) <> (r.order_id IS NOT NULL)
        UNION ALL
        SELECT r.order_id FROM pricing.redemption AS r LEFT JOIN orders.orders AS o ON o.id = r.order_id
        WHERE r.status = 'redeemed' AND coalesce(o.status NOT IN ('placed', 'draft'), true)
    """,
    "a coupon's uses are counted": """
        SELECT p.id FROM pricing.promotion AS p
        WHERE p.uses <> (SELECT count(*) FROM pricing.redemption AS r WHERE r.promotion_id = p.id AND r.status = 'redeemed')
    """,
    "one cart is one order": "SELECT cart_id FROM orders.orders WHERE status IN ('placed', 'draft') GROUP BY cart_id HAVING count(*) > 1",
    "a placed order is paid, and no other keeps money": """
        SELECT o.id FROM orders.orders AS o LEFT JOIN payments.payment AS p ON p.id = o.id
        WHERE coalesce(p.captured, 0) <> CASE WHEN o.status = 'placed' THEN o.total ELSE coalesce(p.refunded, 0) END
           OR o.refunded <> coalesce(p.refunded, 0)
    """,
    "a placed order closed its cart and stands in its buyer's history, once": """
        SELECT o.id FROM orders.orders AS o LEFT JOIN carts.cart AS c ON c.id = o.cart_id
        WHERE o.status = 'placed' AND (c.status IS DISTINCT FROM 'ordered' OR c.order_id <> o.id OR o.user_id IS NOT NULL AND 1 <> (
            SELECT count(*) FROM users.user_activity AS a WHERE a.order_id = o.id))
    """,
}
BEHIND = """
    SELECT p.consumer, count(*) FROM {consumer}.consumer_position AS p JOIN {source}.outbox AS o ON (o.xid, o.id) > (p.xid, p.id)
    WHERE p.consumer = $1 AND p.source = $2 AND o.type = ANY($3) GROUP BY 1
"""
PLACED = "SELECT id::text FROM orders.orders WHERE status = 'placed'"
KEPT = "SELECT id::text, captured - refunded AS amount FROM payments.payment WHERE captured > refunded AND method <> 'wallet'"


async def find_unrest(connection: asyncpg.Connection) -> dict[str, Any]:
    """What is still to be done: an empty answer is a shop at rest."""
    found: dict[str, Any] = {what: rows for what, sql in RESTLESS.items() if (rows := await connection.fetch(sql))}
    for consumer in CONSUMERS.values():
        for source in consumer.sources if consumer.kind != "memory" and consumer.context in app.CONTEXTS else ():
            sql = BEHIND.format(consumer=consumer.context, source=source)
            if rows := await connection.fetch(sql, consumer.path, source, list(consumer.decoders)):
                found[f"{consumer.path} of {source}"] = rows
    return found


async def find_faults(connection: asyncpg.Connection, outside: Outside, acknowledged: Iterable[str] = ()) -> list[str]:
    """Every rule that does not hold in a shop at rest, with the rows that break it; `acknowledged` orders must be there."""
    faults = [f"{rule}: {rows[:3]}" for rule, sql in RULES.items() if (rows := await connection.fetch(sql))]
    for context in app.CONTEXTS:
        if parked := await connection.fetch(f"SELECT consumer, reason FROM {context}.dead_letter"):
            faults.append(f"events were parked: {parked[:3]}")
    if lost := set(acknowledged) - {row["id"] for row in await connection.fetch(PLACED)}:
        faults.append(f"acknowledged orders are not there: {lost}")
    kept = {row["id"]: row["amount"] for row in await connection.fetch(KEPT)}
    balances = balances_of(await outside.read_book())
    for payment_id in kept.keys() | balances.keys():
        if (ours := kept.get(payment_id, 0)) != (theirs := balances.get(payment_id, 0)):
            faults.append(f"of payment {payment_id} we have {ours}, and the processor has {theirs}")
    return faults


def balances_of(book: list[dict[str, Any]]) -> dict[str, int]:
    """What the processor took and did not give back, by payment; those that have cost nothing are left out."""
    balances: defaultdict[str, int] = defaultdict(int)
    signs = {"capture": 1, "refund": -1}
    for entry in book:
        balances[entry["payment_reference"].partition(".")[0]] += signs.get(entry["kind"], 0) * entry["amount"]
    return {order_id: balance for order_id, balance in balances.items() if balance}


def captures_of(book: list[dict[str, Any]], order_id: str) -> int:
    """How often it took money for an order."""
    return sum(entry["kind"] == "capture" and entry["payment_reference"].startswith(order_id) for entry in book)
