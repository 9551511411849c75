"""PostgreSQL itself refuses what would break a rule, whoever asks with the shop's own role."""

import asyncpg
import pytest
from tests.audit.test_checking import CLEARING, DUE, FUNDS, HELD, MUG, PAID, REVIEW, STRANGER, WAITING, move

from souk import app
from souk.kit.postgres import EmbeddedPostgres


def resolve_open(how: str, at: str = "now()") -> str:
    """Open holds get this status and amount, at that moment."""
    return f"""UPDATE payments.hold SET (status, posted, resolved_at, resolution_id) = ({how}, {at}, {STRANGER})
               WHERE status = 'open' AND to_user_id IS NULL"""


def make_payout(status: str, amount: int, *, destination: str = "NULL", check_at: str = "NULL", paid_at: str = "NULL") -> str:
    return f"""INSERT INTO payments.payout (id, seller_id, currency, amount, bank, number_end, status, destination, check_at, paid_at)
               VALUES (gen_random_uuid(), gen_random_uuid(), 'EUR', {amount}, 'a bank', '1234', '{status}', {destination}, {check_at},
                       {paid_at})"""


def take_back(status: str, **columns: object) -> str:
    """A row of a chargeback, as it may be but for these columns."""
    given = {"id": STRANGER, "attempt_id": STRANGER, "amount": 5, "loss": 0} | columns
    return f"""INSERT INTO payments.chargeback
            (payment_id, gateway, external_id, currency, reason, status, fee_currency, {", ".join(given)})
        VALUES ({PAID}, 'test', 'planted', 'USD', 'planted', '{status}', 'USD', {", ".join(map(str, given.values()))});"""


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
    ("UPDATE orders.order_line SET returned = shipped + 1", "only_what_left_comes_back"),
    ("UPDATE orders.order_line SET return_open = shipped - returned + 1", "only_what_left_comes_back"),
    ("UPDATE orders.returns SET refund = NULL", "received_has_a_refund"),
    (f"UPDATE payments.payment SET captured = amount + 1 WHERE id = {PAID}", "never_refunded_above_captured"),
    (f"UPDATE payments.payment SET refunding = captured + 1 WHERE id = {PAID}", "never_refunded_above_captured"),
    (f"UPDATE payments.payment SET refunded = refunding + 1 WHERE id = {PAID}", "never_refunded_above_captured"),
    (f"UPDATE payments.payment SET earned = captured - released + 1 WHERE id = {PAID}", "funds_go_once"),
    (f"UPDATE payments.payment SET released = captured + 1 WHERE id = {PAID}", "funds_go_once"),
    ("UPDATE payments.payment SET released = -1", "funds_go_once"),
    ("INSERT INTO payments.earning SELECT * FROM payments.earning", "earning_.*_pkey"),
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
    (move(HELD, FUNDS, 10**9), "held_never_below_zero"),
    ("UPDATE payments.hold SET status = 'voided', posted = 0 WHERE status = 'posted'", "resolved once"),
    ("UPDATE payments.hold SET posted = amount WHERE status = 'voided'", "resolved once"),
    ("DELETE FROM payments.hold", "never deleted"),
    (resolve_open("'posted', amount + 1"), "never_posted_above_held"),
    (resolve_open("'posted', 0"), "never_posted_above_held"),
    (resolve_open("'voided', 1"), "never_posted_above_held"),
    (resolve_open("'posted', amount", "expires_at"), "resolved_in_time"),
    ("UPDATE payments.hold SET status = 'expired', resolved_at = now() WHERE status = 'open'", "resolved_in_time"),
    ("UPDATE payments.hold SET status = 'posted', posted = amount WHERE status = 'open'", "resolved_has_a_time|resolved_by_somebody"),
    (f"UPDATE payments.hold SET to_seller_id = {STRANGER} WHERE status = 'open'", "the_shops_to_give"),
    ("INSERT INTO payments.hold SELECT * FROM payments.hold", "hold_.*_pkey"),
    (take_back("open", loss=6), "loss_is_a_part"),
    (take_back("won", loss=1, closed_at="now()"), "loss_is_a_part"),
    (take_back("open", fee_returned=1), "fee_comes_before_it_goes"),
    (take_back("lost"), "decided_at_a_time"),
    (take_back("open") + take_back("open", id="gen_random_uuid()"), "chargeback_.*_external_id_key"),
    (take_back("open") + "DELETE FROM payments.chargeback", "decided once and never deleted"),
    (take_back("lost", closed_at="now()") + "UPDATE payments.chargeback SET status = 'open', closed_at = NULL", "decided once"),
    ("""INSERT INTO payments.discrepancy (id, gateway, source, external_id, reason, told, closed_at)
        VALUES (gen_random_uuid(), 'test', 'book', '1', 'planted', '{}', now())""", "closed_for_a_reason"),
    ("INSERT INTO payments.account (id, kind, owner, currency, balance) VALUES (gen_random_uuid(), 'payouts_due', '', 'USD', -1)",
     "never_below_zero"),
    (make_payout("sending", 0), "payout_amount_check"),
    (make_payout("sending", 5, destination="'{}'"), "under_way_is_checked"),
    (make_payout("paid", 5, check_at="now()", paid_at="now()"), "under_way_is_checked"),
    (make_payout("accepted", 5, check_at="now()"), "under_way_knows_where_to"),
    (make_payout("paid", 5, destination="'{}'", paid_at="now()"), "under_way_knows_where_to"),
    (make_payout("paid", 5), "paid_at_a_time"),
    (make_payout("sending", 5, destination="'{}'", check_at="now()", paid_at="now()"), "paid_at_a_time"),
    (make_payout("failed", 5), "failed_for_a_reason"),
    ("""INSERT INTO payments.payout_account (seller_id, currency, holder, number, country, payable_from, due_at)
        VALUES (gen_random_uuid(), 'EUR', 'Ada', '12345', 'DE', now(), now() - interval '1 second')""",
     "nothing_is_due_before_it_may_be_paid"),
    ("INSERT INTO shipping.label SELECT * FROM shipping.label", "label_.*_pkey"),
    ("UPDATE shipping.label SET tracking_number = NULL WHERE status = 'bought'", "bought_has_a_number"),
    ("UPDATE shipping.label SET status = 'failed' WHERE status = 'bought'", "failed_for_a_reason"),
    ("UPDATE shipping.label SET check_at = now() WHERE status = 'bought'", "open_is_looked_at"),
    ("INSERT INTO shipping.tracking_event SELECT * FROM shipping.tracking_event", "tracking_event_.*_pkey"),
    ("UPDATE shipping.shipment SET tracking_status = 'lost'", "shipment_tracking_status_check"),
    ("UPDATE pricing.promotion SET usage_limit = 0", "promotion_is_never_overused"),
    ("UPDATE pricing.promotion SET uses = usage_limit + 1", "promotion_is_never_overused"),
    ("UPDATE pricing.promotion SET budget = 1, currency = 'USD'", "promotion_is_never_overspent"),
    ("UPDATE pricing.buyer_usage SET uses = usage_limit + 1", "buyer_is_within_the_limit"),
    ("INSERT INTO pricing.redemption (order_id, status) SELECT order_id, 'restored' FROM pricing.redemption", "redemption_.*_pkey"),
    *((f"{change} invoices.{table} {rest}", "append-only") for table in ("invoice", "number")
      for change, rest in (("UPDATE", "SET created_at = now()"), ("DELETE FROM", ""), ("TRUNCATE", ""))),
    ("""INSERT INTO invoices.number (seller_id, series, year, counter, invoice_id, order_id)
        SELECT seller_id, series, year, counter, gen_random_uuid(), order_id FROM invoices.number""", "numbered_once"),
    ("""INSERT INTO invoices.number (seller_id, series, year, counter, invoice_id, order_id)
        SELECT seller_id, series, year, counter + 100, invoice_id, order_id FROM invoices.number""", "one_number_each"),
    ("""INSERT INTO invoices.invoice (order_id, id, kind, cause_id, seller_id, number, currency, total, tax, content, issued_at)
        SELECT order_id, gen_random_uuid(), kind, cause_id, seller_id, 'x', currency, total, tax, content, issued_at
        FROM invoices.invoice WHERE kind = 'invoice'""", "invoice_.*_key"),
    ("UPDATE invoices.credit SET credited = total + 1", "never_credited_above_the_invoice"),
    ("UPDATE invoices.credit SET credited_tax = -1", "never_credited_above_the_invoice"),
    (f"""INSERT INTO reviews.review (id, product_id, seller_id, user_id, rating, verified, status)
         SELECT {STRANGER}, product_id, seller_id, user_id, 1, true, 'published' FROM reviews.review WHERE id = {REVIEW}""",
     "one_review_per_buyer"),
    ("UPDATE reviews.review SET rating = 6", "review_rating_check"),
    ("UPDATE reviews.review SET status = 'rejected', queued_at = NULL", "rejected_for_a_reason"),
    ("UPDATE reviews.review SET status = 'pending', queued_at = NULL", "pending_waits_for_somebody"),
    ("UPDATE reviews.review SET status = 'withdrawn', queued_at = now()", "decided_waits_for_nobody"),
    ("UPDATE reviews.review SET reply = 'Thanks'", "reply_has_its_times"),
    ("UPDATE reviews.review SET user_id = NULL, display_name = 'Ada'", "nobody_has_no_name"),
    ("UPDATE reviews.review SET helpful = -1", "review_helpful_check"),
    ("UPDATE reviews.product_rating SET stars5 = -1", "product_rating_stars5_check"),
    (f"INSERT INTO reviews.vote (review_id, user_id, helpful) SELECT {REVIEW}, user_id, true FROM reviews.vote", "vote_pkey"),
    (f"INSERT INTO reviews.report (review_id, user_id, reason) SELECT {REVIEW}, user_id, 'spam' FROM reviews.report", "report_pkey"),
    ("INSERT INTO notifications.notice SELECT * FROM notifications.notice", "notice_.*_pkey"),
    ("INSERT INTO notifications.message SELECT * FROM notifications.message", "message_.*_pkey"),
    ("UPDATE notifications.notice SET status = 'dropped' WHERE status = 'planned'", "dropped_for_a_reason"),
    ("UPDATE notifications.message SET user_id = NULL", "somebody_is_told"),
    ("UPDATE notifications.message SET status = 'suppressed', reason = NULL WHERE status = 'waiting'", "unsent_for_a_reason"),
    ("UPDATE notifications.message SET status = 'sending' WHERE status = 'waiting'", "sending_is_somebodys"),
    ("UPDATE notifications.message SET status = 'sent' WHERE status = 'waiting'", "sent_at_a_time"),
    ("INSERT INTO notifications.watched_product (product_id, seen) VALUES (gen_random_uuid(), 2)", "seen_is_what_was_told"),
    (f"""INSERT INTO notifications.lowest_price (product_id, currency, since, amount)
         VALUES ({STRANGER}, 'EUR', now(), 5), ({STRANGER}, 'EUR', now() - interval '1 day', 6)""", "one_lowest_price_now"),
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
