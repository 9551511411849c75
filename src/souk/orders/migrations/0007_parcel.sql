-- How far the pieces of a line have come: packed in a parcel (that has left or not), dispatched, delivered; or canceled before that.
ALTER TABLE orders.order_line
    ADD COLUMN packed    bigint NOT NULL DEFAULT 0,
    ADD COLUMN shipped   bigint NOT NULL DEFAULT 0,
    ADD COLUMN delivered bigint NOT NULL DEFAULT 0,
    ADD COLUMN canceled  bigint NOT NULL DEFAULT 0;
UPDATE orders.order_line AS l SET canceled = l.quantity FROM orders.orders AS o
WHERE o.id = l.order_id AND o.status = 'canceled' AND o.fulfillment_status = 'canceled';
UPDATE orders.order_line AS l SET packed = l.quantity, shipped = l.quantity FROM orders.orders AS o
WHERE o.id = l.order_id AND o.fulfillment_status = 'fulfilled';
ALTER TABLE orders.order_line ADD CONSTRAINT no_piece_leaves_twice
    CHECK (canceled >= 0 AND packed + canceled <= quantity AND shipped <= packed AND delivered BETWEEN 0 AND shipped);

-- What of an order went into a parcel. Shipping knows the parcel itself; here is what its lines are counted by, once each.
CREATE TABLE orders.parcel (
    order_id   uuid        NOT NULL,
    id         uuid        NOT NULL,
    seller_id  uuid        NOT NULL,
    status     text        NOT NULL DEFAULT 'packed' CHECK (status IN ('packed', 'dispatched', 'delivered', 'canceled')),
    lines      jsonb       NOT NULL CHECK (jsonb_array_length(lines) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, id)
) PARTITION BY RANGE (order_id);
-- What was shipped elsewhere before there were parcels.
INSERT INTO orders.parcel (order_id, id, seller_id, status, lines)
SELECT l.order_id, uuidv7(), l.seller_id, 'dispatched', jsonb_agg(jsonb_build_object('line_id', l.id, 'quantity', l.quantity))
FROM orders.order_line AS l JOIN orders.orders AS o ON o.id = l.order_id
WHERE o.fulfillment_status = 'fulfilled'
GROUP BY l.order_id, l.seller_id;
