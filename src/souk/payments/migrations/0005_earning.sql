-- Money of an order lies in order_funds until its seller has earned it, or until it is let go for pieces that were cancelled.
ALTER TABLE payments.payment
    ADD COLUMN earned   bigint NOT NULL DEFAULT 0,
    ADD COLUMN released bigint NOT NULL DEFAULT 0;  -- the sum of its refunds' funds
-- Who gives what goes back: what of it comes out of order_funds, and what sellers give (or get, if they had given it before).
ALTER TABLE payments.refund
    ADD COLUMN cause  text   NOT NULL DEFAULT 'canceled' CHECK (cause IN ('goodwill', 'canceled', 'returned', 'elsewhere', 'chargeback')),
    ADD COLUMN funds  bigint NOT NULL DEFAULT 0 CHECK (funds >= 0),
    ADD COLUMN shares jsonb  NOT NULL DEFAULT '[]';
ALTER TABLE payments.refund DROP CONSTRAINT refund_amount_check;
ALTER TABLE payments.refund ADD CONSTRAINT refund_amount_check CHECK (amount >= 0);
-- Until now everything came out of order_funds.
UPDATE payments.refund SET funds = amount, shares = jsonb_build_array(jsonb_build_object('seller_id', NULL, 'amount', amount, 'funds', amount))
WHERE NOT surplus;
UPDATE payments.payment SET released = refunding WHERE refunding > 0;
ALTER TABLE payments.payment
    ADD CONSTRAINT funds_go_once CHECK (earned >= 0 AND released >= 0 AND (kind = 'deposit' OR earned + released <= captured));

-- What sellers have earned of orders: parcel by parcel, each once.
CREATE TABLE payments.earning (
    payment_id        uuid        NOT NULL,
    cause_id          uuid        NOT NULL,        -- the parcel that left
    seller_id         uuid        NOT NULL,
    currency          text        NOT NULL,
    amount            bigint      NOT NULL CHECK (amount >= 0),   -- what the buyer paid, with tax
    tax               bigint      NOT NULL CHECK (tax BETWEEN 0 AND amount),
    commission        bigint      NOT NULL CHECK (commission >= 0),
    platform_discount bigint      NOT NULL CHECK (platform_discount >= 0),
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payment_id, cause_id)
) PARTITION BY RANGE (payment_id);
