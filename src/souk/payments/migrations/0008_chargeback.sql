-- What banks took back and nobody else bears, and the gateways' fees for it.
ALTER TABLE payments.account
    DROP CONSTRAINT account_kind_check,
    ADD CONSTRAINT account_kind_check CHECK (kind IN ('gateway_clearing', 'buyer_wallet', 'wallet_held', 'order_funds', 'refunds_due',
        'seller_balance', 'platform_revenue', 'tax_payable', 'promotion_expense', 'payouts_due', 'bank', 'chargeback_expense'));

-- Money of an attempt that the buyer's bank has taken back. A row changes under the lock of its payment only; once it is decided it stays so.
CREATE TABLE payments.chargeback (
    payment_id      uuid        NOT NULL,
    id              uuid        NOT NULL,
    attempt_id      uuid        NOT NULL,
    gateway         text        NOT NULL,
    external_id     text        NOT NULL,              -- what the gateway calls it
    amount          bigint      NOT NULL CHECK (amount > 0),
    currency        text        NOT NULL,
    reason          text        NOT NULL,
    status          text        NOT NULL CHECK (status IN ('open', 'won', 'lost')),
    evidence_due_at timestamptz,
    loss            bigint      NOT NULL,              -- what no refund stands for: it had gone back before, and the shop bears it
    fee             bigint      NOT NULL DEFAULT 0,
    fee_returned    bigint      NOT NULL DEFAULT 0,
    fee_currency    text        NOT NULL,
    closed_at       timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payment_id, id),
    CONSTRAINT chargeback_is_told_once UNIQUE (payment_id, gateway, external_id),
    CONSTRAINT loss_is_a_part CHECK (loss BETWEEN 0 AND amount AND (status <> 'won' OR loss = 0)),
    CONSTRAINT fee_comes_before_it_goes CHECK (0 <= fee_returned AND fee_returned <= fee),
    CONSTRAINT decided_at_a_time CHECK ((status = 'open') = (closed_at IS NULL))
) PARTITION BY RANGE (payment_id);
CREATE INDEX chargeback_by_id ON payments.chargeback (id);

CREATE FUNCTION payments.refuse_second_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a chargeback is decided once and never deleted' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER decided_once BEFORE UPDATE ON payments.chargeback FOR EACH ROW
    WHEN (OLD.status <> 'open' AND (NEW.status, NEW.amount) IS DISTINCT FROM (OLD.status, OLD.amount))
    EXECUTE FUNCTION payments.refuse_second_decision();
CREATE TRIGGER never_deleted BEFORE DELETE ON payments.chargeback FOR EACH ROW EXECUTE FUNCTION payments.refuse_second_decision();

-- What a chargeback takes from a seller: `amount` of what the buyer had paid, for which `debited` left the seller's balance.
CREATE TABLE payments.chargeback_share (
    payment_id    uuid        NOT NULL,
    chargeback_id uuid        NOT NULL,
    seller_id     uuid        NOT NULL,
    amount        bigint      NOT NULL CHECK (amount > 0),
    debited       bigint      NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payment_id, chargeback_id, seller_id)
) PARTITION BY RANGE (payment_id);
CREATE INDEX chargeback_share_seller ON payments.chargeback_share (seller_id, chargeback_id);
