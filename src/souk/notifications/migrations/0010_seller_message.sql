-- What sellers wrote to the buyers of their orders: by this it is counted how much that is. What they wrote is in the notice of this id.
CREATE TABLE notifications.seller_message (
    id         uuid        PRIMARY KEY,
    seller_id  uuid        NOT NULL,
    order_id   uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX seller_message_seller ON notifications.seller_message (seller_id, created_at);
CREATE INDEX seller_message_age ON notifications.seller_message (created_at);
