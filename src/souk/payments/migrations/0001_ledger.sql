-- Who owns money: a buyer's wallet, a gateway that is to pay us out, the shop itself. balance = credits - debits, so what we owe
-- is above zero and what a gateway owes us is below; all balances of a currency sum to zero.
CREATE TABLE payments.account (
    id         uuid        PRIMARY KEY,
    kind       text        NOT NULL CHECK (kind IN ('gateway_clearing', 'buyer_wallet', 'order_funds', 'refunds_due',
                               'seller_balance', 'platform_revenue', 'tax_payable', 'promotion_expense')),
    owner      text        NOT NULL,              -- a gateway's name, a user's or a seller's id, or empty: the shop
    currency   text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    balance    bigint      NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, owner, currency),
    CONSTRAINT never_below_zero CHECK (kind NOT IN ('buyer_wallet', 'order_funds', 'refunds_due') OR balance >= 0)
) WITH (fillfactor = 50);  -- room on the page for the next version of a hot row
CREATE INDEX account_owner ON payments.account (owner, kind);

-- Every movement of money, append-only. cause_id is the id of the order, the deposit or the wallet transfer for which it moves;
-- the reference names the movement within its cause, so that it happens once.
CREATE TABLE payments.transfer (
    cause_id   uuid        NOT NULL,
    reference  text        NOT NULL,
    id         uuid        NOT NULL,
    kind       text        NOT NULL,
    debit_id   uuid        NOT NULL,
    credit_id  uuid        NOT NULL,
    amount     bigint      NOT NULL CHECK (amount > 0),
    currency   text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cause_id, reference),
    CONSTRAINT from_one_to_another CHECK (debit_id <> credit_id)
) PARTITION BY RANGE (cause_id);
CREATE INDEX transfer_debit ON payments.transfer (debit_id, id);
CREATE INDEX transfer_credit ON payments.transfer (credit_id, id);

-- Balances move with the transfers and in no other way, one update per account however many transfers a statement brings.
-- Wallets are locked before the shop's own accounts, both in the order of their ids, so that no two statements can deadlock
-- and the hot rows are held only from here to the commit.
CREATE FUNCTION payments.move_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted integer;
    moved  integer;
BEGIN
    PERFORM FROM payments.account AS a
    WHERE a.id IN (SELECT debit_id FROM added UNION SELECT credit_id FROM added)
    ORDER BY a.kind <> 'buyer_wallet', a.id
    FOR NO KEY UPDATE;
    WITH delta AS (
        SELECT side.id, side.currency, sum(side.amount) AS amount
        FROM (SELECT debit_id AS id, currency, -amount AS amount FROM added
              UNION ALL SELECT credit_id, currency, amount FROM added) AS side
        GROUP BY side.id, side.currency
    ), done AS (
        UPDATE payments.account AS a SET balance = a.balance + delta.amount, updated_at = now()
        FROM delta WHERE a.id = delta.id AND a.currency = delta.currency
        RETURNING a.id
    )
    SELECT (SELECT count(*) FROM delta), (SELECT count(*) FROM done) INTO wanted, moved;
    IF moved <> wanted THEN
        RAISE EXCEPTION 'a transfer names an account that does not exist or has another currency' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER move_balances AFTER INSERT ON payments.transfer
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION payments.move_balances();

CREATE FUNCTION payments.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transfers are never changed or deleted: post the opposite one' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payments.transfer FOR EACH ROW EXECUTE FUNCTION payments.refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON payments.transfer FOR EACH STATEMENT EXECUTE FUNCTION payments.refuse_change();
