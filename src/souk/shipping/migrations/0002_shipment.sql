-- A parcel: what one seller sends at once of an order, with a copy of where it goes. Partitioned by its id, whose beginning is its time.
CREATE TABLE shipping.shipment (
    id               uuid        NOT NULL PRIMARY KEY,
    order_id         uuid        NOT NULL,
    order_number     bigint      NOT NULL,
    seller_id        uuid        NOT NULL,
    user_id          uuid,       -- the buyer; null for a guest, whose token has this hash
    guest_token_hash bytea,
    status           text        NOT NULL CHECK (status IN ('packed', 'dispatched', 'delivered', 'canceled')),
    shipping_option  text,
    address          jsonb,      -- forgotten when it has arrived and its buyer leaves
    lines            jsonb       NOT NULL CHECK (jsonb_array_length(lines) > 0),
    carrier          text,
    tracking_number  text,
    weight_g         bigint      CHECK (weight_g > 0),
    dispatched_at    timestamptz,
    delivered_at     timestamptz,
    canceled_at      timestamptz,
    version          bigint      NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dispatched_has_a_time CHECK ((status IN ('dispatched', 'delivered')) = (dispatched_at IS NOT NULL)),
    CONSTRAINT delivered_has_a_time CHECK ((status = 'delivered') = (delivered_at IS NOT NULL)),
    CONSTRAINT canceled_has_a_time CHECK ((status = 'canceled') = (canceled_at IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE INDEX shipment_order ON shipping.shipment (order_id, id);
CREATE INDEX shipment_seller ON shipping.shipment (seller_id, id);
CREATE INDEX shipment_user ON shipping.shipment (user_id, id) WHERE user_id IS NOT NULL;
