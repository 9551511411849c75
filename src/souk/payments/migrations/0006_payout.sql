-- Two more kinds of accounts: payouts_due is money on its way to sellers, bank is what went out through the bank of that name.
ALTER TABLE payments.account
    DROP CONSTRAINT account_kind_check,
    ADD CONSTRAINT account_kind_check CHECK (kind IN ('gateway_clearing', 'buyer_wallet', 'order_funds', 'refunds_due',
        'seller_balance', 'platform_revenue', 'tax_payable', 'promotion_expense', 'payouts_due', 'bank')),
    DROP CONSTRAINT never_below_zero,
    ADD CONSTRAINT never_below_zero CHECK (kind NOT IN ('buyer_wallet', 'order_funds', 'refunds_due', 'payouts_due') OR balance >= 0);

-- Where a seller wants the money of a currency, and when they are paid next. Nothing is paid for a while after a change.
CREATE TABLE payments.payout_account (
    seller_id    uuid        NOT NULL,
    currency     text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    holder       text        NOT NULL,
    number       text        NOT NULL CHECK (number ~ '^[A-Z0-9]{4,34}$'),
    bank_code    text,
    country      text        NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    user_id      uuid,                                 -- who has set it
    payable_from timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    paused       boolean     NOT NULL DEFAULT false,   -- the seller is suspended: nothing is paid by itself
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (seller_id, currency),
    CONSTRAINT nothing_is_due_before_it_may_be_paid CHECK (due_at >= payable_from)
);
CREATE INDEX payout_account_due ON payments.payout_account (due_at) WHERE NOT paused;
CREATE INDEX payout_account_user ON payments.payout_account (user_id);

-- Money of a seller on its way to their bank, or there. The row and the transfer seller_balance -> payouts_due commit before the bank is asked.
CREATE TABLE payments.payout (
    id           uuid        NOT NULL,
    seller_id    uuid        NOT NULL,
    currency     text        NOT NULL,
    amount       bigint      NOT NULL CHECK (amount > 0),
    bank         text        NOT NULL,
    status       text        NOT NULL CHECK (status IN ('sending', 'accepted', 'paid', 'failed')),
    destination  jsonb,                                -- to whom it goes, kept until it is known to have arrived or failed
    number_end   text        NOT NULL,                 -- the last characters of the account number
    bank_id      text,                                 -- what the bank calls it
    reason       text,                                 -- why it failed
    check_at     timestamptz,                          -- when to ask the bank, while it is under way
    paid_at      timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    CONSTRAINT under_way_is_checked CHECK ((status IN ('sending', 'accepted')) = (check_at IS NOT NULL)),
    CONSTRAINT under_way_knows_where_to CHECK ((status IN ('sending', 'accepted')) = (destination IS NOT NULL)),
    CONSTRAINT failed_for_a_reason CHECK ((status = 'failed') = (reason IS NOT NULL)),
    -- A payout that was paid and failed has come back.
    CONSTRAINT paid_at_a_time CHECK (CASE status WHEN 'paid' THEN paid_at IS NOT NULL WHEN 'failed' THEN true ELSE paid_at IS NULL END)
) PARTITION BY RANGE (id);
CREATE INDEX payout_seller ON payments.payout (seller_id, id);
CREATE INDEX payout_under_way ON payments.payout (seller_id, currency) WHERE check_at IS NOT NULL;
CREATE INDEX payout_check ON payments.payout (check_at) WHERE check_at IS NOT NULL;
