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
    FROM payments.account
    WHERE kind IN ('buyer_wallet', 'wallet_held', 'order_funds', 'refunds_due', 'payouts_due') AND balance < 0
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
                                         'refunds', coalesce(r.refunded, 0), 'released', p.released,
                                         'funds', coalesce(r.released, 0)) AS found
    FROM payments.payment AS p
    FULL JOIN (
        SELECT payment_id AS id, sum(amount) AS captured FROM payments.attempt WHERE status = 'captured' GROUP BY payment_id
    ) AS a USING (id)
    FULL JOIN (
        SELECT payment_id AS id, coalesce(sum(amount) FILTER (WHERE status <> 'failed'), 0) AS refunding,
               coalesce(sum(amount) FILTER (WHERE status = 'succeeded'), 0) AS refunded,
               coalesce(sum(funds) FILTER (WHERE status <> 'failed'), 0) AS released
        FROM payments.refund WHERE NOT surplus GROUP BY payment_id
    ) AS r USING (id)
    WHERE (p.captured, p.refunding, p.refunded, p.released)
        IS DISTINCT FROM (coalesce(a.captured, 0), coalesce(r.refunding, 0), coalesce(r.refunded, 0), coalesce(r.released, 0))
"""
FIND_ABOVE = """
    SELECT id AS key, jsonb_build_object('amount', amount, 'captured', captured, 'refunding', refunding, 'refunded', refunded,
                                         'earned', earned, 'released', released) AS found
    FROM payments.payment
    WHERE NOT (0 <= refunded AND refunded <= refunding AND refunding <= captured AND captured <= amount)
       OR least(earned, released) < 0 OR (kind = 'order' AND earned + released > captured)
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
# Money that goes back becomes due first (:reserve), and may be found impossible to give (:undone); surplus was due since it came. What
# stands for a chargeback that was won has been given and come back.
FIND_WRONG_REFUNDS = """
    SELECT payment_id || ' refund ' || refund_id AS key,
           jsonb_build_object('refund', ARRAY[r.reserved, r.paid, r.undone], 'transfers', ARRAY[t.reserved, t.paid, t.undone]) AS found
    FROM (
        SELECT payment_id, id::text AS refund_id, CASE WHEN surplus THEN 0 ELSE amount END AS reserved,
               CASE WHEN status = 'succeeded' THEN amount ELSE 0 END AS paid,
               CASE WHEN status = 'failed' AND NOT surplus THEN amount ELSE 0 END AS undone
        FROM payments.refund
    ) AS r
    FULL JOIN (
        SELECT t.cause_id AS payment_id, split_part(t.reference, ':', 2) AS refund_id,
               coalesce(sum(t.amount) FILTER (WHERE t.credit_id = due.id AND t.kind <> 'refunded_undone'), 0) AS reserved,
               coalesce(sum(CASE WHEN t.debit_id = due.id THEN t.amount ELSE -t.amount END)
                        FILTER (WHERE t.kind IN ('refunded', 'refunded_undone')), 0) AS paid,
               coalesce(sum(t.amount) FILTER (WHERE t.debit_id = due.id AND t.kind <> 'refunded'), 0) AS undone
        FROM payments.transfer AS t
        LEFT JOIN payments.account AS due ON due.id IN (t.debit_id, t.credit_id) AND due.kind = 'refunds_due'
        WHERE starts_with(t.reference, 'refund:')
        GROUP BY 1, 2
    ) AS t USING (payment_id, refund_id)
    WHERE (coalesce(r.reserved, 0), coalesce(r.paid, 0), coalesce(r.undone, 0))
        IS DISTINCT FROM (coalesce(t.reserved, 0)::bigint, coalesce(t.paid, 0)::bigint, coalesce(t.undone, 0)::bigint)
"""
FIND_WRONG_SHARES = """
    SELECT r.payment_id || ' refund ' || r.id AS key,
           jsonb_build_object('amount', r.amount, 'funds', r.funds, 'shared', ARRAY[s.amount, s.funds]) AS found
    FROM payments.refund AS r
    CROSS JOIN LATERAL (
        SELECT coalesce(sum((one ->> 'amount')::bigint), 0) AS amount, coalesce(sum((one ->> 'funds')::bigint), 0) AS funds
        FROM jsonb_array_elements(r.shares) AS one
    ) AS s
    WHERE NOT r.surplus AND (r.amount <> s.amount OR r.funds <> s.funds)
"""
FIND_WRONG_EARNINGS = """
    SELECT payment_id || ' parcel ' || cause_id AS key,
           jsonb_build_object('earning', e.amount, 'booked', t.amount, 'payment', p.earned, 'earnings', e.whole) AS found
    FROM (SELECT payment_id, cause_id::text, amount, sum(amount) OVER (PARTITION BY payment_id) AS whole FROM payments.earning) AS e
    FULL JOIN (
        SELECT t.cause_id AS payment_id, split_part(t.reference, ':', 2) AS cause_id,
               coalesce(sum(t.amount) FILTER (WHERE a.id IS NOT NULL), 0) AS amount
        FROM payments.transfer AS t LEFT JOIN payments.account AS a ON a.id = t.debit_id AND a.kind = 'order_funds'
        WHERE starts_with(t.reference, 'earned:')
        GROUP BY 1, 2
    ) AS t USING (payment_id, cause_id)
    LEFT JOIN payments.payment AS p ON p.id = payment_id
    WHERE e.amount IS DISTINCT FROM coalesce(t.amount, 0) OR coalesce(p.earned, 0) <> e.whole
"""
FIND_WRONG_FUNDS = """
    SELECT currency AS key, jsonb_build_object('funds', a.amount, 'payments', p.amount) AS found
    FROM (SELECT currency, sum(balance) AS amount FROM payments.account WHERE kind = 'order_funds' GROUP BY currency) AS a
    FULL JOIN (
        SELECT currency, sum(captured - earned - released) AS amount FROM payments.payment WHERE kind = 'order' GROUP BY currency
    ) AS p USING (currency)
    WHERE coalesce(a.amount, 0) <> coalesce(p.amount, 0)
"""
# A surplus is due from when it came until it has gone back, whatever was refused meanwhile.
FIND_WRONG_DUES = """
    SELECT currency AS key, jsonb_build_object('due', a.amount, 'refunds', r.amount) AS found
    FROM (SELECT currency, sum(balance) AS amount FROM payments.account WHERE kind = 'refunds_due' GROUP BY currency) AS a
    FULL JOIN (
        SELECT currency, sum(amount) AS amount
        FROM (SELECT currency, amount FROM payments.refund WHERE status = 'pending' AND NOT surplus
              UNION ALL SELECT currency, amount FROM payments.attempt WHERE status = 'surplus'
              UNION ALL SELECT currency, -amount FROM payments.refund WHERE status = 'succeeded' AND surplus) AS each
        GROUP BY currency
    ) AS r USING (currency)
    WHERE coalesce(a.amount, 0) <> coalesce(r.amount, 0)
"""
# A payout that was paid and failed has come back. Whose account a step moves besides that of payouts due: the seller's, or the bank's.
FIND_WRONG_PAYOUTS = """
    SELECT id || ' ' || reference AS key,
           jsonb_build_object('payout', p.amount, 'transfer', t.amount, 'of', p.owner, 'moved', t.owner) AS found
    FROM (
        SELECT id, 'payout:' || id || ':reserve' AS reference, amount, seller_id::text AS owner FROM payments.payout
        UNION ALL SELECT id, 'payout:' || id || ':paid', amount, bank FROM payments.payout WHERE paid_at IS NOT NULL
        UNION ALL SELECT id, 'payout:' || id || ':release', amount, seller_id::text FROM payments.payout
                  WHERE status = 'failed' AND paid_at IS NULL
        UNION ALL SELECT id, 'payout:' || id || ':return', amount, seller_id::text FROM payments.payout
                  WHERE status = 'failed' AND paid_at IS NOT NULL
    ) AS p
    FULL JOIN (
        SELECT t.cause_id AS id, t.reference, t.amount, a.owner
        FROM payments.transfer AS t
        LEFT JOIN payments.account AS a ON a.id = CASE WHEN t.kind = 'payout_reserved' THEN t.debit_id ELSE t.credit_id END
        WHERE starts_with(t.reference, 'payout:')
    ) AS t USING (id, reference)
    WHERE (p.amount, p.owner) IS DISTINCT FROM (t.amount, t.owner)
"""
FIND_WRONG_PAYOUTS_DUE = """
    SELECT currency AS key, jsonb_build_object('due', a.amount, 'payouts', p.amount) AS found
    FROM (SELECT currency, sum(balance) AS amount FROM payments.account WHERE kind = 'payouts_due' GROUP BY currency) AS a
    FULL JOIN (
        SELECT currency, sum(amount) AS amount FROM payments.payout WHERE status IN ('sending', 'accepted') GROUP BY currency
    ) AS p USING (currency)
    WHERE coalesce(a.amount, 0) <> coalesce(p.amount, 0)
"""
FIND_WRONG_BANKS = """
    SELECT bank || ' ' || currency AS key, jsonb_build_object('balance', a.balance, 'payouts', p.amount) AS found
    FROM (SELECT owner AS bank, currency, balance FROM payments.account WHERE kind = 'bank') AS a
    FULL JOIN (
        SELECT bank, currency, sum(amount) AS amount FROM payments.payout WHERE status = 'paid' GROUP BY bank, currency
    ) AS p USING (bank, currency)
    WHERE coalesce(a.balance, 0) <> coalesce(p.amount, 0)
"""
# Who bears a chargeback: refunds that stand for it, and for the rest (the loss) the shop. One that was won nobody bears.
FIND_WRONG_CHARGEBACKS = """
    SELECT payment_id || ' chargeback ' || chargeback_id AS key,
           jsonb_build_object('status', c.status, 'chargeback', ARRAY[c.taken, c.undone, c.fees, c.covered, c.shared],
                              'books', ARRAY[t.taken, t.undone, t.fees, r.amount, r.given]) AS found
    FROM (
        SELECT payment_id, id::text AS chargeback_id, attempt_id, external_id, status, amount AS taken,
               CASE WHEN status = 'won' THEN amount ELSE 0 END AS undone, fee - fee_returned AS fees,
               CASE WHEN status = 'won' THEN 0 ELSE amount - loss END AS covered,
               (SELECT coalesce(sum(s.amount), 0) FROM payments.chargeback_share AS s
                WHERE s.payment_id = c.payment_id AND s.chargeback_id = c.id) AS shared
        FROM payments.chargeback AS c
    ) AS c
    FULL JOIN (
        SELECT cause_id AS payment_id, split_part(reference, ':', 2) AS chargeback_id,
               coalesce(sum(amount) FILTER (WHERE kind = 'charged_back'), 0) AS taken,
               coalesce(sum(amount) FILTER (WHERE kind = 'charged_back_undone'), 0) AS undone,
               coalesce(sum(CASE kind WHEN 'chargeback_fee' THEN amount WHEN 'chargeback_fee_returned' THEN -amount END), 0) AS fees
        FROM payments.transfer WHERE starts_with(reference, 'chargeback:') GROUP BY 1, 2
    ) AS t USING (payment_id, chargeback_id)
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(r.amount) FILTER (WHERE r.status = 'succeeded'), 0) AS amount,
               coalesce(sum((SELECT sum(greatest((one ->> 'amount')::bigint - (one ->> 'funds')::bigint, 0))
                             FROM jsonb_array_elements(r.shares) AS one WHERE one ->> 'seller_id' IS NOT NULL)), 0) AS given
        FROM payments.refund AS r
        WHERE r.payment_id = c.payment_id AND r.attempt_id = c.attempt_id AND r.gateway_id = c.external_id AND r.cause = 'chargeback'
    ) AS r ON true
    WHERE (c.taken, c.undone, c.fees, c.covered, c.shared) IS DISTINCT FROM
          (t.taken::bigint, t.undone::bigint, t.fees::bigint, r.amount::bigint, r.given)
"""
FIND_WRONG_EXPENSES = """
    SELECT currency AS key, jsonb_build_object('balance', a.balance, 'chargebacks', -c.amount) AS found
    FROM (SELECT currency, balance FROM payments.account WHERE kind = 'chargeback_expense') AS a
    FULL JOIN (
        SELECT currency, sum(amount) AS amount
        FROM (SELECT currency, loss AS amount FROM payments.chargeback
              UNION ALL SELECT fee_currency, fee - fee_returned FROM payments.chargeback) AS each
        GROUP BY currency
    ) AS c USING (currency)
    WHERE coalesce(a.balance, 0) <> -coalesce(c.amount, 0)
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
    UNION ALL
    SELECT id::text, jsonb_build_object('payout', amount, 'currency', currency, 'created_at', created_at)
    FROM payments.payout WHERE status = 'sending'
"""
FIND_WRONG_HELD = """
    SELECT owner || ' ' || currency AS key, jsonb_build_object('held', a.balance, 'holds', h.amount) AS found
    FROM (SELECT owner, currency, balance FROM payments.account WHERE kind = 'wallet_held') AS a
    FULL JOIN (
        SELECT user_id::text AS owner, currency, sum(amount) AS amount FROM payments.hold WHERE status = 'open' GROUP BY user_id, currency
    ) AS h USING (owner, currency)
    WHERE coalesce(a.balance, 0) <> coalesce(h.amount, 0)
"""
# Each step of a hold, with where its money comes from and goes to; what is posted goes to another user, to a seller, or to the shop.
FIND_WRONG_HOLDS = """
    SELECT hold_id || ' ' || reference AS key,
           jsonb_build_object('hold', to_jsonb(h) - 'hold_id' - 'reference', 'transfer', to_jsonb(t) - 'hold_id' - 'reference') AS found
    FROM (
        SELECT id AS hold_id, 'hold' AS reference, amount, 'buyer_wallet ' || user_id AS debit, 'wallet_held ' || user_id AS credit
        FROM payments.hold
        UNION ALL
        SELECT id, 'hold:post', posted, 'wallet_held ' || user_id,
               coalesce('buyer_wallet ' || to_user_id, 'seller_balance ' || to_seller_id, 'platform_revenue ')
        FROM payments.hold WHERE status = 'posted'
        UNION ALL
        SELECT id, 'hold:return', amount - posted, 'wallet_held ' || user_id, 'buyer_wallet ' || user_id
        FROM payments.hold WHERE status <> 'open' AND posted < amount
    ) AS h
    FULL JOIN (
        SELECT m.cause_id AS hold_id, m.reference, m.amount, d.kind || ' ' || d.owner AS debit, c.kind || ' ' || c.owner AS credit
        FROM payments.transfer AS m
        LEFT JOIN payments.account AS d ON d.id = m.debit_id
        LEFT JOIN payments.account AS c ON c.id = m.credit_id
        WHERE starts_with(m.reference, 'hold')
    ) AS t USING (hold_id, reference)
    WHERE (h.amount, h.debit, h.credit) IS DISTINCT FROM (t.amount, t.debit, t.credit)
"""
FIND_OVERDUE_HOLDS = """
    SELECT id AS key, jsonb_build_object('amount', amount, 'currency', currency, 'expires_at', expires_at) AS found
    FROM payments.hold WHERE status = 'open' AND expires_at < now() - interval '1 minute'
"""

RULES = (
    Rule("I5.sum", "All balances of a currency sum to zero", FIND_WRONG_SUMS),
    Rule("I5.balances", "A balance is the sum of its transfers", FIND_WRONG_BALANCES),
    Rule("I5.floors", "No wallet, nothing held of one, no funds of orders, no refunds and no payouts due are below zero", FIND_BELOW_ZERO),
    Rule("I5.transfers", "A transfer moves money between two accounts of its currency", FIND_WRONG_TRANSFERS),
    Rule("I5.payments", "What came and went of a payment follows from its attempts and refunds", FIND_WRONG_PAYMENTS),
    Rule("I5.limits", "Never more is captured than was asked for, nor given back, or earned and let go, than was captured", FIND_ABOVE),
    Rule("I5.status", "The status of a payment says what came and went", FIND_WRONG_STATUSES),
    Rule("I5.captures", "Money is booked once per attempt that brought it", FIND_WRONG_CAPTURES),
    Rule("I5.refunds", "Money is booked once per refund that was promised, given or refused", FIND_WRONG_REFUNDS),
    Rule("I5.shares", "A refund is given by the order's money and by sellers, together as much as it is", FIND_WRONG_SHARES),
    Rule("I5.earnings", "What sellers have earned of a payment is booked once per parcel", FIND_WRONG_EARNINGS),
    Rule("I5.funds", "The funds of orders are what came, less what was earned and what was let go", FIND_WRONG_FUNDS),
    Rule("I5.due", "Refunds due are those that are not done", FIND_WRONG_DUES),
    Rule("I5.held", "What is held of a wallet is what its open holds are of", FIND_WRONG_HELD),
    Rule("I5.holds", "Money is booked once per step of a hold: set aside, posted, back", FIND_WRONG_HOLDS),
    Rule("I5.overdue", "What was held until a time that is over is back in its wallet", FIND_OVERDUE_HOLDS, settled=True),
    Rule("I5.payouts", "Money is booked once per step of a payout: set aside, paid, refused, come back", FIND_WRONG_PAYOUTS),
    Rule("I5.under_way", "Payouts due are those that are under way", FIND_WRONG_PAYOUTS_DUE),
    Rule("I5.banks", "What went out through a bank is what was paid and did not come back", FIND_WRONG_BANKS),
    Rule("I5.chargebacks", "What banks took back is booked once, and borne by those who gave it or by the shop", FIND_WRONG_CHARGEBACKS),
    Rule("I5.expense", "What chargebacks cost the shop is their losses and fees", FIND_WRONG_EXPENSES),
    Rule("I6.gateways", "No gateway and no bank contradicts our books, and none lacks what they say of it", FIND_DISCREPANCIES),
    Rule("I6.open", "No gateway and no bank owes an answer", FIND_OPEN, settled=True),
)
