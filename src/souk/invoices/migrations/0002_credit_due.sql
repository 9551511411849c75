-- What is to be credited to a part of an order: it goes when its credit note is written, and waits until the part has left and is invoiced.
-- What was sent elsewhere is invoiced elsewhere, so that it waits for good.
CREATE TABLE invoices.credit_due (
    order_id   uuid        NOT NULL,
    refund_id  uuid        NOT NULL,
    seller_id  uuid        NOT NULL,
    request    jsonb       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, refund_id)
);
