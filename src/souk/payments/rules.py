"""What the books of payments and the ledger keep at any moment, for the audit."""

from souk.kit.rules import Rule

FIND_WRONG_SUMS = """
    SELECT currency AS key, jsonb_build_object('sum', sum(balance)) AS found
    FROM payments.account GROUP BY currency HAVING sum(balance) <> 0
"""
FIND_WRONG_BALANCES = """
    SELECT id AS key,
           jsonb_build_object('kind', a.kind, 'owner', a.owner, 'balance', a.balance, 'transfers', coalesce(t.amount, 0)) AS found
    FROM payments.account AS a
    FULL JOIN (
        SELECT side.id, sum(side.amount) AS amount
        FROM (SELECT debit_id AS id, -sum(amount) AS amount FROM payments.transfer GROUP BY debit_id
              UNION ALL SELECT credit_id, sum(amount) FROM payments.transfer GROUP BY credit_id) AS side
        GROUP BY side.id
    ) AS t USING (id)
    WHERE a.balance IS DISTINCT FROM coalesce(t.amount, 0)
"""
FIND_BELOW_ZERO = """
    SELECT id AS key, jsonb_build_object('kind', kind, 'owner', owner, 'currency', currency, 'balance', balance) AS found
    FROM payments.account WHERE kind IN ('buyer_wallet', 'order_funds', 'refunds_due') AND balance < 0
"""
FIND_WRONG_TRANSFERS = """
    SELECT t.cause_id || ' ' || t.reference AS key,
           jsonb_build_object('amount', t.amount, 'currency', t.currency, 'debit', d.currency, 'credit', c.currency) AS found
    FROM payments.transfer AS t
    LEFT JOIN payments.account AS d ON d.id = t.debit_id
    LEFT JOIN payments.account AS c ON c.id = t.credit_id
    WHERE t.amount <= 0 OR t.debit_id = t.credit_id OR t.currency IS DISTINCT FROM d.currency OR t.currency IS DISTINCT FROM c.currency
"""
FIND_WRONG_PAYMENTS = """
    SELECT id AS key, jsonb_build_object('captured', p.captured, 'attempts', coalesce(a.captured, 0), 'refunding', p.refunding,
                                         'promised', coalesce(r.refunding, 0), 'refunded', p.refunded,
                                         'refunds', coalesce(r.refunded, 0)) AS found
    FROM payments.payment AS p
    FULL JOIN (
        SELECT payment_id AS id, sum(amount) AS captured FROM payments.attempt WHERE status = 'captured' GROUP BY payment_id
    ) AS a USING (id)
    FULL JOIN (
        SELECT payment_id AS id, coalesce(sum(amount) FILTER (WHERE status <> 'failed'), 0) AS refunding,
               coalesce(sum(amount) FILTER (WHERE status = 'succeeded'), 0) AS refunded
        FROM payments.refund WHERE NOT surplus GROUP BY payment_id
    ) AS r USING (id)
    WHERE (p.captured, p.refunding, p.refunded)
        IS DISTINCT FROM (coalesce(a.captured, 0), coalesce(r.refunding, 0), coalesce(r.refunded, 0))
"""
FIND_ABOVE = """
    SELECT id AS key, jsonb_build_object('amount', amount, 'captured', captured, 'refunding', refunding, 'refunded', refunded) AS found
    FROM payments.payment WHERE NOT (0 <= refunded AND refunded <= refunding AND refunding <= captured AND captured <= amount)
"""
FIND_WRONG_STATUSES = """
    SELECT id AS key, jsonb_build_object('status', status, 'amount', amount, 'captured', captured, 'refunded', refunded) AS found
    FROM payments.payment
    WHERE CASE WHEN captured = 0 THEN status IN ('partially_refunded', 'refunded') OR (status = 'captured' AND amount > 0)
          WHEN refunded = captured THEN status <> 'refunded'
          WHEN refunded > 0 THEN status <> 'partially_refunded'
          ELSE status <> 'captured' END
"""
FIND_WRONG_CAPTURES = """
    SELECT payment_id || ' ' || reference AS key, jsonb_build_object('attempt', a.amount, 'transfer', t.amount) AS found
    FROM (
        SELECT payment_id, 'capture:' || id AS reference, amount FROM payments.attempt WHERE status IN ('captured', 'surplus')
    ) AS a
    FULL JOIN (
        SELECT cause_id AS payment_id, reference, amount FROM payments.transfer WHERE starts_with(reference, 'capture:')
    ) AS t USING (payment_id, reference)
    WHERE a.amount IS DISTINCT FROM t.amount
"""
# Money that goes back is promised first (:reserve) and may be found impossible to give (:release); surplus was never ours to promise.
FIND_WRONG_REFUNDS = """
    SELECT payment_id || ' ' || reference AS key, jsonb_build_object('refund', r.amount, 'transfer', t.amount) AS found
    FROM (
        SELECT payment_id, 'refund:' || id AS reference, amount FROM payments.refund WHERE status = 'succeeded'
        UNION ALL SELECT payment_id, 'refund:' || id || ':reserve', amount FROM payments.refund WHERE NOT surplus
        UNION ALL SELECT payment_id, 'refund:' || id || ':release', amount FROM payments.refund WHERE NOT surplus AND status = 'failed'
    ) AS r
    FULL JOIN (
        SELECT cause_id AS payment_id, reference, amount FROM payments.transfer WHERE starts_with(reference, 'refund:')
    ) AS t USING (payment_id, reference)
    WHERE r.amount IS DISTINCT FROM t.amount
"""
FIND_WRONG_DUES = """
    SELECT currency AS key, jsonb_build_object('due', a.amount, 'refunds', r.amount) AS found
    FROM (SELECT currency, sum(balance) AS amount FROM payments.account WHERE kind = 'refunds_due' GROUP BY currency) AS a
    FULL JOIN (
        SELECT currency, sum(amount) AS amount FROM payments.refund
        WHERE status = 'pending' OR (status = 'failed' AND surplus) GROUP BY currency
    ) AS r USING (currency)
    WHERE coalesce(a.amount, 0) <> coalesce(r.amount, 0)
"""
FIND_DISCREPANCIES = """
    SELECT id AS key, jsonb_build_object('gateway', gateway, 'source', source, 'external_id', external_id, 'reason', reason,
                                         'payment_id', payment_id) AS found
    FROM payments.discrepancy WHERE closed_at IS NULL
"""
FIND_OPEN = """
    SELECT payment_id || ' ' || id AS key, jsonb_build_object('status', status, 'gateway', gateway, 'created_at', created_at) AS found
    FROM payments.attempt WHERE status = 'pending'
    UNION ALL
    SELECT payment_id || ' ' || id, jsonb_build_object('refund', amount, 'currency', currency, 'created_at', created_at)
    FROM payments.refund WHERE status = 'pending'
"""

RULES = (
    Rule("I5.sum", "All balances of a currency sum to zero", FIND_WRONG_SUMS),
    Rule("I5.balances", "A balance is the sum of its transfers", FIND_WRONG_BALANCES),
    Rule("I5.floors", "No wallet, no funds of orders and no refunds due are below zero", FIND_BELOW_ZERO),
    Rule("I5.transfers", "A transfer moves money between two accounts of its currency", FIND_WRONG_TRANSFERS),
    Rule("I5.payments", "What came and went of a payment follows from its attempts and refunds", FIND_WRONG_PAYMENTS),
    Rule("I5.limits", "Never more is captured than was asked for, nor given back than was captured", FIND_ABOVE),
    Rule("I5.status", "The status of a payment says what came and went", FIND_WRONG_STATUSES),
    Rule("I5.captures", "Money is booked once per attempt that brought it", FIND_WRONG_CAPTURES),
    Rule("I5.refunds", "Money is booked once per refund that was promised, given or refused", FIND_WRONG_REFUNDS),
    Rule("I5.due", "Refunds due are those that are not done", FIND_WRONG_DUES),
    Rule("I6.gateways", "No gateway contradicts our books, and none lacks what they say of it", FIND_DISCREPANCIES),
    Rule("I6.open", "No gateway owes an answer", FIND_OPEN, settled=True),
)
