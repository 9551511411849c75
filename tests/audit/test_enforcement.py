"""PostgreSQL itself refuses what would break a rule, whoever asks with the shop's own role."""

import asyncpg
import pytest
from tests.audit.test_checking import CLEARING, DUE, FUNDS, MUG, PAID, STRANGER, WAITING, move

from souk import app
from souk.kit.postgres import EmbeddedPostgres

# What is tried behind the shop's back, and the constraint, index or trigger that refuses it.
REFUSED = (
    (f"UPDATE inventory.stock SET reserved = on_hand + 1 {MUG}", "stock_is_never_oversold"),
    (f"UPDATE inventory.stock SET reserved = -1 {MUG}", "stock_is_never_oversold"),
    (f"UPDATE inventory.stock SET on_hand = reserved - 1 {MUG}", "stock_is_never_oversold"),
    ("UPDATE inventory.reservation_line SET shipped = quantity + 1", "only_what_is_reserved_ships"),
    ("UPDATE inventory.reservation SET expires_at = now() WHERE status = 'confirmed'", "held_expires"),
    ("INSERT INTO inventory.reservation (order_id, status) SELECT order_id, 'released' FROM inventory.reservation",
     "reservation_.*_pkey"),
    ("UPDATE inventory.movement SET delta = delta + 1", "append-only"),
    ("DELETE FROM inventory.movement", "append-only"),
    ("TRUNCATE inventory.movement", "append-only"),
    (f"UPDATE orders.placement SET cart_id = (SELECT cart_id FROM orders.placement WHERE order_id = {PAID}) WHERE order_id = {WAITING}",
     "placement_cart_id_key"),
    (f"UPDATE orders.placement SET (subject, key) = ('me', 'key') WHERE order_id IN ({PAID}, {WAITING})", "placement_key"),
    ("UPDATE orders.orders SET total = total + 1 WHERE captured = 0", "total_is_the_sum_of_its_parts"),
    (f"UPDATE orders.orders SET placed_at = NULL WHERE id = {PAID}", "placed_has_a_time"),
    (f"UPDATE orders.orders SET captured = captured - 1 WHERE id = {PAID}", "paid_whole_or_not_at_all"),
    ("UPDATE orders.orders SET refunded = -1", "paid_whole_or_not_at_all"),
    ("UPDATE orders.order_line SET total = total + 1", "line_total_is_goods_less_discount"),
    ("UPDATE orders.order_line SET quantity = 0, discount = 0, total = 0", "order_line_quantity_check"),
    ("UPDATE orders.order_line SET packed = quantity + 1", "no_piece_leaves_twice"),
    ("UPDATE orders.order_line SET packed = 1, canceled = quantity", "no_piece_leaves_twice"),
    ("UPDATE orders.order_line SET shipped = packed + 1", "no_piece_leaves_twice"),
    ("UPDATE orders.order_line SET delivered = shipped + 1", "no_piece_leaves_twice"),
    (f"UPDATE payments.payment SET captured = amount + 1 WHERE id = {PAID}", "never_refunded_above_captured"),
    (f"UPDATE payments.payment SET refunding = captured + 1 WHERE id = {PAID}", "never_refunded_above_captured"),
    (f"UPDATE payments.payment SET refunded = refunding + 1 WHERE id = {PAID}", "never_refunded_above_captured"),
    (f"""INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint)
         SELECT {PAID}, {STRANGER}, 'test', 'card', 1, 'USD', 'captured', ''""", "attempt_.*payment_id_idx"),
    ("UPDATE payments.account SET balance = -1 WHERE kind = 'order_funds'", "never_below_zero"),
    (move(FUNDS, CLEARING, 10**9), "never_below_zero"),
    (move(FUNDS, FUNDS, 1), "from_one_to_another"),
    (move(FUNDS, CLEARING, 0), "transfer_amount_check"),
    (move(FUNDS, STRANGER, 1), "an account that does not exist"),
    (move(CLEARING, DUE, 1).replace("'USD'", "'EUR'"), "an account that does not exist or has another currency"),
    (move(CLEARING, DUE, 1) + move(CLEARING, DUE, 1), "transfer_.*_pkey"),
    ("UPDATE payments.transfer SET amount = amount + 1", "never changed or deleted"),
    ("DELETE FROM payments.transfer", "never changed or deleted"),
    ("TRUNCATE payments.transfer", "never changed or deleted"),
    ("""INSERT INTO payments.discrepancy (id, gateway, source, external_id, reason, told, closed_at)
        VALUES (gen_random_uuid(), 'test', 'book', '1', 'planted', '{}', now())""", "closed_for_a_reason"),
    ("UPDATE pricing.promotion SET usage_limit = 0", "promotion_is_never_overused"),
    ("UPDATE pricing.promotion SET uses = usage_limit + 1", "promotion_is_never_overused"),
    ("UPDATE pricing.promotion SET budget = 1, currency = 'USD'", "promotion_is_never_overspent"),
    ("UPDATE pricing.buyer_usage SET uses = usage_limit + 1", "buyer_is_within_the_limit"),
    ("INSERT INTO pricing.redemption (order_id, status) SELECT order_id, 'restored' FROM pricing.redemption", "redemption_.*_pkey"),
    ("INSERT INTO orders.consumer_position SELECT * FROM orders.consumer_position", "consumer_position_pkey"),
    *((f"{change} {context}.outbox {rest}", "append-only")
      for context in app.CONTEXTS for change, rest in (("UPDATE", "SET xid = 0"), ("DELETE FROM", ""), ("TRUNCATE", ""))),
)  # fmt: skip


@pytest.mark.parametrize(("statement", "refused_by"), REFUSED, ids=[f"{by} {number}" for number, (_, by) in enumerate(REFUSED)])
async def test_the_database_refuses(postgres: EmbeddedPostgres, history: str, statement: str, refused_by: str) -> None:
    """What is refused changes nothing, so that no test needs a copy."""
    connection = await asyncpg.connect(postgres.dsn(history))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=refused_by):
        await connection.execute(statement)
    await connection.close()
