"""The audit finds nothing in a shop that works, and each fault that is planted in its tables breaks its rule and is named."""

import asyncio
import json
from pathlib import Path

import asyncpg
import msgspec
import pytest
from tests.audit.history import check, is_settled, order_mugs
from tests.conftest import asked_by
from tests.orders.market import as_system
from tests.waiting import until

from souk import audit, orders, payments
from souk.app import Shop
from souk.audit import comparing
from souk.kit.errors import Forbidden, Unauthenticated
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.telemetry import AUDIT_FINDINGS

PAID = "(SELECT id FROM orders.orders WHERE status = 'placed' AND refunded = 0 AND coupon IS NULL ORDER BY id LIMIT 1)"
WAITING = "(SELECT id FROM orders.orders WHERE status = 'draft' ORDER BY id DESC LIMIT 1)"
SHIPPED = "(SELECT order_id FROM inventory.reservation WHERE status = 'shipped')"
STRANGER = "'01990000-0000-7000-8000-000000000001'"
ACCOUNT = "(SELECT id FROM payments.account WHERE kind = '{}')"
KINDS = ("order_funds", "gateway_clearing", "refunds_due", "platform_revenue", "wallet_held")
FUNDS, CLEARING, DUE, REVENUE, HELD = (ACCOUNT.format(kind) for kind in KINDS)
MESSAGE = """(SELECT * FROM notifications.message WHERE kind = 'seller_order_placed' AND channel = 'email' AND status = 'waiting'
              ORDER BY id LIMIT 1) AS planted"""
SEND = f"""UPDATE notifications.message SET status = 'sent', sent_at = now(), decided_at = now()
           WHERE id = (SELECT id FROM {MESSAGE})"""
MUG = "WHERE sku = 'MUG'"
REVIEW = "(SELECT id FROM reviews.review ORDER BY id LIMIT 1)"


def move(debit: str, credit: str, amount: int, cause: str = STRANGER, reference: str = "planted") -> str:
    return f"""INSERT INTO payments.transfer (cause_id, reference, id, kind, debit_id, credit_id, amount, currency)
               VALUES ({cause}, '{reference}', gen_random_uuid(), 'planted', {debit}, {credit}, {amount}, 'USD');"""


def open_account(kind: str, owner: str) -> str:
    return f"INSERT INTO payments.account (id, kind, owner, currency) VALUES ({STRANGER}, '{kind}', '{owner}', 'USD');"


def pay(payment: str, amount: str) -> str:
    """An attempt that brought money, in all the books of payments."""
    return f"""
        INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint)
        SELECT {payment}, {STRANGER}, 'test', 'card', {amount}, 'USD', 'captured', '';
        INSERT INTO payments.transfer (cause_id, reference, id, kind, debit_id, credit_id, amount, currency)
        SELECT {payment}, 'capture:' || {STRANGER}, gen_random_uuid(), 'captured', {CLEARING}, {FUNDS}, {amount}, 'USD';
        UPDATE payments.payment SET captured = amount, status = 'captured' WHERE id = {payment};"""


def tell_webhook(due_at: str, *deliveries: tuple[int, str]) -> str:
    """A webhook with a secret, and deliveries at these places; those that are settled were tried once, and answered."""
    places, statuses = ([one[column] for one in deliveries] for column in range(2))
    return f"""
        INSERT INTO webhooks.webhook (id, url, events, last_place, due_at) VALUES ({STRANGER}, 'https://a.example', '{{*}}', 9, {due_at});
        INSERT INTO webhooks.secret (id, webhook_id, sealed) VALUES ({STRANGER}, {STRANGER}, '');
        INSERT INTO webhooks.delivery (webhook_id, event_id, place, type, payload, status, attempts, settled_at)
        SELECT {STRANGER}, gen_random_uuid(), u.place, 'planted', '', u.status, CASE u.status WHEN 'waiting' THEN 0 ELSE 1 END,
               CASE WHEN u.status <> 'waiting' THEN now() END
        FROM unnest(ARRAY{places}::bigint[], ARRAY{statuses}::text[]) AS u (place, status);
        INSERT INTO webhooks.attempt (webhook_id, event_id, number, status, duration_ms)
        SELECT webhook_id, event_id, 1, 200, 5 FROM webhooks.delivery WHERE attempts = 1;"""


def add_campaign(status: str, recipients: int) -> str:
    """A campaign that has begun, and whose recipients were counted."""
    return f"""INSERT INTO notifications.campaign
            (id, name, words, segment, status, scheduled_at, begun_at, planned_at, finished_at, recipients, created_by)
        VALUES ({STRANGER}, 'planted', '{{"en": {{}}}}', '{{}}', '{status}', now(), now(), now(), now(), {recipients}, {STRANGER});"""


# What is done to the books behind the shop's back, and the rules that break: only that one where the others can be kept.
FAULTS = {
    "I1.levels": f"""ALTER TABLE inventory.stock DROP CONSTRAINT stock_is_never_oversold;
        INSERT INTO inventory.movement (id, store_id, sku, kind, delta, reason)
        SELECT gen_random_uuid(), store_id, sku, 'adjusted', -on_hand, 'planted' FROM inventory.stock {MUG};
        UPDATE inventory.stock SET on_hand = 0 {MUG}""",
    "I2.reserved": f"UPDATE inventory.stock SET reserved = reserved + 1 {MUG}",
    "I2.on_hand": f"UPDATE inventory.stock SET on_hand = on_hand + 1 {MUG}",
    "I2.shipped": f"UPDATE inventory.reservation_line SET shipped = 1 WHERE order_id = {SHIPPED} AND shipped = 2",
    "I2.lines": f"""INSERT INTO inventory.reservation_line (order_id, sku, store_id, quantity)
        SELECT {STRANGER}, sku, store_id, 1 FROM inventory.stock {MUG}""",
    "I2.overdue": "UPDATE inventory.reservation SET expires_at = now() - interval '1 hour' WHERE status = 'held'",
    "I3.pieces": f"UPDATE inventory.reservation_line SET quantity = 3 WHERE order_id = {SHIPPED} AND sku = 'MUG'",
    "I3.undone": f"""INSERT INTO inventory.reservation (order_id, status) VALUES ({STRANGER}, 'confirmed');
        INSERT INTO inventory.reservation_line (order_id, sku, store_id, quantity)
        SELECT {STRANGER}, sku, store_id, 1 FROM inventory.stock {MUG};
        UPDATE inventory.stock SET reserved = reserved + 1 {MUG}""",
    "I4.cart": f"UPDATE orders.orders SET cart_id = (SELECT cart_id FROM orders.orders WHERE id = {PAID}) WHERE id = {WAITING}",
    "I4.total": f"""ALTER TABLE orders.orders DROP CONSTRAINT total_is_the_sum_of_its_parts;
        UPDATE orders.order_part SET shipping = shipping + 1
        WHERE (order_id, seller_id) = (SELECT order_id, seller_id FROM orders.order_part WHERE order_id = {PAID} LIMIT 1);
        UPDATE orders.orders SET shipping = shipping + 1 WHERE id = {PAID}""",
    "I4.lines": f"UPDATE orders.order_line SET discount = discount + 1, total = total - 1 WHERE order_id = {PAID} AND sku = 'MUG'",
    "I4.parts": f"UPDATE orders.order_part SET tax = tax + 1 WHERE order_id = {PAID}",
    "I4.status": f"UPDATE orders.orders SET payment_status = 'none' WHERE id = {PAID}",
    "I4.refunded": f"UPDATE orders.orders SET payment_status = 'refunded' WHERE id = {PAID}",
    "I4.saga": f"UPDATE orders.placement SET expires_at = now() - interval '1 hour' WHERE order_id = {WAITING}",
    "I5.sum I5.balances": f"UPDATE payments.account SET balance = balance + 1 WHERE id = {CLEARING}",
    "I5.balances": f"""UPDATE payments.account SET balance = balance + CASE WHEN id = {REVENUE} THEN 1 ELSE -1 END
        WHERE id IN ({REVENUE}, {CLEARING})""",
    "I5.floors I5.funds": f"""ALTER TABLE payments.account DROP CONSTRAINT never_below_zero;
        {move(FUNDS, CLEARING, 10**9)}""",
    "I5.transfers": f"""ALTER TABLE payments.transfer DISABLE TRIGGER USER;
        UPDATE payments.transfer SET currency = 'EUR' WHERE cause_id = {PAID}""",
    "I5.payments": f"UPDATE payments.payment SET refunding = refunding + 1 WHERE id = {PAID}",
    "I5.limits": f"""ALTER TABLE payments.payment DROP CONSTRAINT never_refunded_above_captured;
        UPDATE payments.payment SET amount = amount - 1 WHERE id = {PAID}""",
    "I5.status": f"UPDATE payments.payment SET status = 'pending' WHERE id = {PAID}",
    "I5.captures": f"""ALTER TABLE payments.transfer DISABLE TRIGGER USER;
        UPDATE payments.transfer SET reference = 'capture:twice' WHERE cause_id = {PAID}""",
    "I5.refunds": """ALTER TABLE payments.transfer DISABLE TRIGGER USER;
        UPDATE payments.transfer SET reference = 'refund:twice' WHERE starts_with(reference, 'refund:') AND kind = 'refunded'""",
    "I5.shares": "UPDATE payments.refund SET shares = jsonb_set(shares, '{0,amount}', '1') WHERE NOT surplus",
    "I5.earnings I5.funds I6.earned": "UPDATE payments.payment SET earned = earned - 1 WHERE earned > 0",
    "I5.funds": move(CLEARING, FUNDS, 5),
    "I5.due": move(CLEARING, DUE, 5),
    "I5.held": move(CLEARING, HELD, 5),
    "I5.holds": """ALTER TABLE payments.transfer DISABLE TRIGGER USER;
        UPDATE payments.transfer SET reference = 'hold:again' WHERE reference = 'hold:post'""",
    "I5.overdue": "UPDATE payments.hold SET expires_at = now() - interval '1 hour' WHERE status = 'open'",
    "I5.payouts": move(CLEARING, REVENUE, 5, reference="payout:twice"),
    "I5.under_way": open_account("payouts_due", "") + move(CLEARING, STRANGER, 5),
    "I5.banks": open_account("bank", "a bank") + move(CLEARING, STRANGER, 5),
    "I5.chargebacks": f"""INSERT INTO payments.chargeback
            (payment_id, id, attempt_id, gateway, external_id, amount, currency, reason, status, loss, fee_currency)
        VALUES ({PAID}, {STRANGER}, {STRANGER}, 'test', 'planted', 5, 'USD', 'planted', 'open', 0, 'USD')""",
    "I5.expense": f"""INSERT INTO payments.account (id, kind, owner, currency) VALUES ({STRANGER}, 'chargeback_expense', '', 'USD');
        {move(STRANGER, CLEARING, 5)}""",
    "I6.gateways": """INSERT INTO payments.discrepancy (id, gateway, source, external_id, reason, told)
        VALUES (gen_random_uuid(), 'test', 'book', '1', 'planted', '{}')""",
    "I6.open": f"""INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint, check_at)
        SELECT {WAITING}, {STRANGER}, 'test', 'card', 1, 'USD', 'pending', '', now()""",
    "I6.orders": f"UPDATE orders.orders SET refunded = 1, payment_status = 'partially_refunded' WHERE id = {PAID}",
    "I6.undone": f"""INSERT INTO payments.payment (id, kind, currency, amount, parts, expires_at)
        VALUES ({STRANGER}, 'order', 'USD', 100, '[]', now()); {pay(STRANGER, "100")}""",
    "I6.paid": pay(WAITING, f"(SELECT amount FROM payments.payment WHERE id = {WAITING})"),
    "I6.released I3.pieces": f"UPDATE orders.order_line SET canceled = 1 WHERE order_id = {PAID} AND sku = 'MUG'",
    "I6.returns I16.returns": "UPDATE orders.returns SET refund = refund + 1",
    "I7.returns": "UPDATE orders.order_line SET returned = returned - 1 WHERE returned > 0",
    "I7.pieces": f"UPDATE orders.order_line SET packed = 1 WHERE order_id = {PAID} AND sku = 'MUG'",
    "I7.placed": f"""UPDATE orders.order_line SET packed = 1 WHERE order_id = {WAITING};
        INSERT INTO orders.parcel (order_id, id, seller_id, lines)
        SELECT order_id, id, seller_id, jsonb_build_array(jsonb_build_object('line_id', id, 'quantity', 1))
        FROM orders.order_line WHERE order_id = {WAITING};
        INSERT INTO shipping.shipment (id, order_id, order_number, seller_id, status, lines)
        SELECT id, order_id, 1, seller_id, 'packed', lines FROM orders.parcel WHERE order_id = {WAITING}""",
    "I7.status": f"UPDATE orders.order_part SET status = 'fulfilled' WHERE order_id = {PAID}",
    "I7.parcels": f"""INSERT INTO shipping.shipment (id, order_id, order_number, seller_id, status, lines)
        VALUES ({STRANGER}, {PAID}, 1, {STRANGER}, 'packed', '[{{}}]')""",
    "I7.parcels I7.dispatched": f"""INSERT INTO shipping.shipment (id, order_id, order_number, seller_id, status, lines, dispatched_at)
        VALUES ({STRANGER}, {WAITING}, 1, {STRANGER}, 'dispatched', '[{{}}]', now())""",
    "I7.tracking": "UPDATE shipping.shipment SET tracking_status = 'delivered' WHERE tracking_status = 'in_transit'",
    "I7.labels": f"""INSERT INTO shipping.label (shipment_id, carrier, currency, weight_g, sender, status, failure_code)
        VALUES ({STRANGER}, 'manual', 'USD', 1, '{{}}', 'failed', 'planted')""",
    "I6.labels": "UPDATE shipping.label SET price = 420 WHERE status = 'bought'",
    "I7.carriers": "UPDATE shipping.label SET status = 'voiding', check_at = now() WHERE status = 'bought'",
    "I8.parked": """INSERT INTO orders.dead_letter
            (consumer, source, xid, id, event_id, type, aggregate_id, payload, request_id, occurred_at, reason)
        SELECT 'orders.note_refunds', 'payments', 10^15, 1, event_id, type, aggregate_id, payload, request_id, now(), 'planted'
        FROM payments.outbox LIMIT 1""",
    "I8.facts": """INSERT INTO orders.outbox (event_id, type, aggregate_id, payload, request_id)
        SELECT event_id, type, aggregate_id, payload, request_id FROM orders.outbox LIMIT 1""",
    "I8.positions": "UPDATE orders.consumer_position SET xid = 10^15 WHERE consumer = 'orders.note_refunds'",
    "I8.applied": "UPDATE orders.consumer_position SET xid = 0, id = 0 WHERE consumer = 'orders.note_refunds'",
    "I11.uses": "UPDATE pricing.promotion SET spent = spent + 1",
    "I11.buyers": "UPDATE pricing.buyer_usage SET uses = uses + 1",
    "I11.limits": """ALTER TABLE pricing.promotion DROP CONSTRAINT promotion_is_never_overused;
        UPDATE pricing.promotion SET usage_limit = 0""",
    "I11.orders": "UPDATE orders.orders SET coupon = NULL WHERE coupon IS NOT NULL",
    "I12.planned": f"""INSERT INTO notifications.notice (id, kind, fact_id, recipient_kind, recipient_id, content, occurred_at)
        VALUES ({STRANGER}, 'welcome', {STRANGER}, 'user', {STRANGER}, '{{}}', now())""",
    "I12.told": "UPDATE notifications.notice SET status = 'planned', reason = NULL WHERE kind = 'order_placed' AND status = 'dropped'",
    "I12.undropped": f"UPDATE notifications.notice SET status = 'dropped', reason = 'planted' WHERE id = (SELECT notice_id FROM {MESSAGE})",
    "I12.once": f"""INSERT INTO notifications.message (id, letter_id, notice_id, user_id, channel, kind, topic, mandatory, content, status,
                                                     due_at, give_up_at, decided_at)
        SELECT {STRANGER}, {STRANGER}, notice_id, user_id, channel, kind, topic, mandatory, content, status, due_at, give_up_at, decided_at
        FROM {MESSAGE}""",
    "I12.twice": f"""INSERT INTO notifications.notice (id, kind, fact_id, recipient_kind, recipient_id, content, status, occurred_at)
        SELECT {STRANGER}, kind, fact_id, recipient_kind, recipient_id, content, status, occurred_at FROM notifications.notice
        WHERE id = (SELECT notice_id FROM {MESSAGE});
        INSERT INTO notifications.message (id, letter_id, notice_id, user_id, channel, kind, topic, mandatory, content, status,
                                           due_at, give_up_at, decided_at, sent_at)
        SELECT {STRANGER}, {STRANGER}, {STRANGER}, user_id, channel, kind, topic, mandatory, content, 'sent', due_at, give_up_at, now(),
               now()
        FROM {MESSAGE};
        {SEND}""",
    "I12.wanted": f"""INSERT INTO users.user_preferences (user_id, categories, brands, language, timezone, notifications, updated_at)
        SELECT user_id, '{{}}', '{{}}', 'en', 'UTC', '{{"seller_orders": {{"email": false}}}}', now() - interval '1 hour' FROM {MESSAGE}
        ON CONFLICT (user_id) DO UPDATE SET notifications = excluded.notifications, updated_at = excluded.updated_at;
        {SEND}""",
    "I12.ended": f"UPDATE notifications.message SET give_up_at = now() - interval '1 hour' WHERE id = (SELECT id FROM {MESSAGE})",
    "I12.letters": f"UPDATE notifications.message SET letter_id = {STRANGER} WHERE id = (SELECT id FROM {MESSAGE})",
    "I12.together": f"""UPDATE notifications.message AS m SET letter_id = planted.id FROM {MESSAGE}
        WHERE m.id <> planted.id AND m.status = 'waiting'
          AND (m.user_id, m.channel, m.topic) = (planted.user_id, planted.channel, planted.topic);
        UPDATE notifications.message SET status = 'sent', sent_at = now()
        WHERE id IN (SELECT letter_id FROM notifications.message WHERE id <> letter_id)""",
    "I12.asked": f"""UPDATE notifications.message SET status = 'sent', sent_at = now(), decided_at = NULL
        WHERE id = (SELECT id FROM {MESSAGE})""",
    "I12.mandatory": f"""UPDATE notifications.message SET mandatory = true, status = 'suppressed', reason = 'opted_out'
        WHERE id = (SELECT id FROM {MESSAGE})""",
    "I12.sellers": """DELETE FROM notifications.notice
        WHERE id = (SELECT id FROM notifications.notice WHERE kind = 'order_placed' AND status = 'dropped' ORDER BY id LIMIT 1)""",
    "I12.campaigns": f"""{add_campaign("sent", 1)}
        INSERT INTO notifications.message (id, letter_id, notice_id, user_id, channel, kind, topic, mandatory, content, status,
                                           due_at, give_up_at, decided_at)
        SELECT {STRANGER}, {STRANGER}, {STRANGER}, user_id, channel, 'campaign', 'promotions', false, content, status, due_at, give_up_at,
               decided_at
        FROM {MESSAGE}""",
    "I12.recipients": add_campaign("paused", 1),
    "I16.gaps": "UPDATE invoices.counter SET last = last + 1 WHERE series = 'invoice'",
    "I16.gaps I16.numbers": """ALTER TABLE invoices.number DISABLE TRIGGER USER;
        UPDATE invoices.number SET counter = counter + 100 WHERE series = 'invoice'""",
    "I16.numbers": """ALTER TABLE invoices.invoice DISABLE TRIGGER USER;
        UPDATE invoices.invoice SET number = (SELECT min(number) FROM invoices.invoice WHERE kind = 'invoice')
        WHERE kind = 'credit_note'""",
    "I16.sums": """ALTER TABLE invoices.invoice DISABLE TRIGGER USER;
        UPDATE invoices.invoice SET content = jsonb_set(content, '{lines,0,total}', '1') WHERE kind = 'invoice'""",
    "I16.credits": "UPDATE invoices.credit SET credited = credited - 1",
    "I16.returns": f"""INSERT INTO invoices.credit_due (order_id, refund_id, seller_id, request)
        VALUES ({PAID}, {STRANGER}, {STRANGER}, '{{"total": 5}}')""",
    "I17.ratings": "UPDATE reviews.product_rating SET stars3 = stars3 - 2, stars1 = stars1 + 1, stars5 = stars5 + 1 WHERE stars3 = 2",
    "I17.votes": "UPDATE reviews.review SET helpful = helpful + 1",
    "I17.reports": "UPDATE reviews.review SET reports = reports + 1",
    "I17.shown": "UPDATE catalog.product SET rating_average = 1 WHERE rating_count > 0",
    "I18.queue": tell_webhook("NULL", (1, "waiting")),
    "I18.order": tell_webhook("now()", (1, "waiting"), (2, "delivered")),
    "I18.places": tell_webhook("now()", (1, "waiting"), (1, "waiting")),
    "I18.attempts": tell_webhook("NULL", (1, "failed")),
    "I18.secrets": tell_webhook("NULL") + "DELETE FROM webhooks.secret",
    "I18.overdue": tell_webhook("now() - interval '1 hour'"),
}
# In test_gateways.py and in notifications/test_books.py, where there is another side with a book.
PLANTED_AT_OTHERS = {"I6.read", "I12.taken"}
PATIENCE_S = comparing.AGAIN_AFTER_S
# Rules whose fault leaves no other mark but one that a shop at work may have, too.
SETTLED = {
    "I2.overdue", "I4.saga", "I5.overdue", "I6.open", "I6.paid", "I7.carriers", "I8.applied", "I12.planned", "I12.ended", "I12.together",
    "I18.overdue",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "AGAIN_AFTER_S", 0.05)


async def plant(dsn: str, fault: str) -> None:
    """Break the books as nobody who uses the shop could."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(fault)
    await connection.close()


async def test_a_shop_that_works_keeps_every_rule(shop: Shop) -> None:
    report = await check(settled=True)
    assert [rule for rule in report.rules if not rule.holds] == []
    assert {rule.id for rule in report.rules} == {rule for rules in FAULTS for rule in rules.split()} | PLANTED_AT_OTHERS
    assert report.broken == 0


@pytest.mark.parametrize("rules", FAULTS)
async def test_a_planted_fault_breaks_its_rule_and_no_other(shop: Shop, dsn: str, rules: str) -> None:
    await plant(dsn, FAULTS[rules])
    report = await check(settled=rules in SETTLED)
    broken = {rule.id: rule for rule in report.rules if not rule.holds}
    assert broken.keys() == set(rules.split()), broken
    assert report.broken == len(broken)
    for rule in broken.values():
        assert rule.count == len(rule.findings) > 0
        assert all(finding.key and finding.found for finding in rule.findings)
        assert AUDIT_FINDINGS.labels(rule.id)._value.get() == rule.count


async def test_the_row_is_named_with_what_was_found(shop: Shop, dsn: str) -> None:
    await plant(dsn, FAULTS["I2.reserved"])
    (rule,) = [rule for rule in (await check()).rules if not rule.holds]
    (finding,) = rule.findings
    assert finding.key.startswith("MUG in ")
    assert finding.found["reserved"] == finding.found["set_aside"] + 1
    lines = list(audit.describe(await check()))
    assert lines[0].startswith("BROKEN I2.reserved: ")
    assert finding.key in lines[1]


async def test_what_waits_is_counted_for_its_consumer_alone(shop: Shop, dsn: str) -> None:
    await plant(dsn, FAULTS["I8.applied"])
    connection = await asyncpg.connect(dsn)
    refunds = await connection.fetchval("SELECT count(*) FROM payments.outbox WHERE type = 'payments.PaymentRefunded'")
    await connection.close()
    (rule,) = [rule for rule in (await check(settled=True)).rules if not rule.holds]
    assert [(one.key, one.found) for one in rule.findings] == [("orders.note_refunds of payments", {"facts_behind": refunds})]
    assert refunds > 1


async def test_what_is_still_under_way_breaks_no_rule(working_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are placed, cancelled and refunded while the audit looks, again and again."""
    monkeypatch.setattr(comparing, "AGAIN_AFTER_S", PATIENCE_S)  # as in a shop: news of a refund is a moment on its way
    ended: list[orders.Order] = []
    async with asyncio.TaskGroup() as group:
        buyers = [group.create_task(keep_buying(number, ended)) for number in range(4)]
        while not all(buyer.done() for buyer in buyers):
            report = await check()
            assert report.broken == 0, [rule for rule in report.rules if not rule.holds]
    assert {(order.status, order.payment_status) for order in ended} >= {("draft", "none"), ("placed", "paid"), ("canceled", "refunded")}
    await until(is_settled)


async def keep_buying(number: int, ended: list[orders.Order]) -> None:
    for turn in range(6):
        ended.append(await make_more(number + turn))
        await asyncio.sleep(0.7)


async def make_more(number: int) -> orders.Order:
    """One after the other an order waits for its payment, is paid, is cancelled when it is paid, or is refunded in part."""
    order = await order_mugs(1, token=None if number % 4 == 0 else "tok_visa")
    with as_system():
        if number % 4 == 2:
            return await orders.cancel_order(order.id, orders.CancelOrder("changed my mind"))
        if number % 4 == 3:
            await payments.refund(payments.RefundPayment(new_id(), order.id, Money(500, "USD"), "a scratch"))
    return order


async def test_admins_only(shop: Shop) -> None:
    with asked_by("buyer"), pytest.raises(Forbidden):
        await audit.check_books(settled=False)
    with pytest.raises(Unauthenticated):
        await audit.check_books(settled=False)


async def test_the_report_as_json(shop: Shop, dsn: str) -> None:
    await plant(dsn, FAULTS["I5.due"])
    told = json.loads(msgspec.json.encode(await check()))
    (rule,) = [rule for rule in told["rules"] if not rule["holds"]]
    assert told["broken"] == 1
    assert told["checked_at"]
    assert rule["id"] == "I5.due"
    assert rule["statement"]
    assert rule["findings"] == [{"key": "USD", "found": {"due": 5, "refunds": None}}]


async def test_the_document_has_every_rule(shop: Shop) -> None:
    document = (Path(__file__).parents[2] / "docs/invariants.md").read_text()
    for rule in (await check(settled=True)).rules:
        assert f"| {rule.id} | {rule.statement} |" in document
