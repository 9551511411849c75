-- Pieces that are to come back, and those that have.
ALTER TABLE orders.order_line
    ADD COLUMN return_open bigint NOT NULL DEFAULT 0,
    ADD COLUMN returned    bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT only_what_left_comes_back CHECK (return_open >= 0 AND returned >= 0 AND return_open + returned <= shipped);

-- What a buyer sends back to one seller. The terms on its items are those of the seller's policy when the order was placed.
CREATE TABLE orders.returns (
    id         uuid        NOT NULL PRIMARY KEY,
    order_id   uuid        NOT NULL,
    seller_id  uuid        NOT NULL,
    status     text        NOT NULL DEFAULT 'requested'
                           CHECK (status IN ('requested', 'approved', 'refused', 'canceled', 'received', 'refunded')),
    items      jsonb       NOT NULL CHECK (jsonb_array_length(items) > 0),
    refund_to  text        NOT NULL CHECK (refund_to IN ('origin', 'wallet')),
    note       text,                              -- the buyer's
    reason     text,                              -- why it was refused, or less is paid back
    refund     bigint      CHECK (refund >= 0),   -- what goes back, once it was received
    deduction  bigint      NOT NULL DEFAULT 0 CHECK (deduction >= 0),
    currency   text        NOT NULL,
    version    bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT received_has_a_refund CHECK ((status IN ('received', 'refunded')) = (refund IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE INDEX returns_order ON orders.returns (order_id, id);
CREATE INDEX returns_seller ON orders.returns (seller_id, id);

-- What a seller takes back and on which terms. Rows are never changed: another one ends the one before, which goes on for older orders.
CREATE TABLE orders.return_policy (
    id                 uuid        PRIMARY KEY,
    seller_id          uuid,                      -- null: every seller's
    category_id        uuid,                      -- null: whatever it is
    window_days        integer     NOT NULL CHECK (window_days BETWEEN 0 AND 3650),
    restocking_fee_ppm integer     NOT NULL CHECK (restocking_fee_ppm BETWEEN 0 AND 1000000),
    final_sale         boolean     NOT NULL,
    return_shipping    text        NOT NULL CHECK (return_shipping IN ('buyer', 'seller')),
    ended_at           timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX return_policy_in_force ON orders.return_policy (seller_id, category_id) NULLS NOT DISTINCT WHERE ended_at IS NULL;
CREATE INDEX return_policy_seller ON orders.return_policy (seller_id, created_at);
