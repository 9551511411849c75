CREATE SEQUENCE orders.number START 1001;

-- An order as it was when it was placed. Payment and fulfilment are two axes beside the status, written by one writer.
CREATE TABLE orders.orders (
    id                 uuid        NOT NULL PRIMARY KEY,
    number             bigint      NOT NULL DEFAULT nextval('orders.number'),
    user_id            uuid,
    guest_token_hash   bytea,
    email              text,
    cart_id            uuid,
    status             text        NOT NULL CHECK (status IN ('draft', 'placed', 'canceled', 'rejected')),
    payment_status     text        NOT NULL DEFAULT 'none' CHECK (payment_status IN
                           ('none', 'authorized', 'partially_paid', 'paid', 'partially_refunded', 'refunded', 'voided')),
    fulfillment_status text        NOT NULL DEFAULT 'unfulfilled' CHECK (fulfillment_status IN
                           ('unfulfilled', 'partial', 'fulfilled', 'delivered', 'canceled', 'returned')),
    currency           text        NOT NULL,
    subtotal           bigint      NOT NULL CHECK (subtotal >= 0),
    discount           bigint      NOT NULL CHECK (discount >= 0),
    shipping           bigint      NOT NULL CHECK (shipping >= 0),
    tax                bigint      NOT NULL CHECK (tax >= 0),
    total              bigint      NOT NULL CHECK (total >= 0),
    captured           bigint      NOT NULL DEFAULT 0,
    refunded           bigint      NOT NULL DEFAULT 0,
    tax_included       boolean     NOT NULL,
    coupon             text,
    coupon_discount    bigint      NOT NULL DEFAULT 0,
    country            text,
    shipping_address   jsonb,
    note               text,
    expires_at         timestamptz,
    placed_at          timestamptz,
    version            bigint      NOT NULL DEFAULT 1,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT total_is_the_sum_of_its_parts CHECK (total = subtotal - discount + shipping + CASE WHEN tax_included THEN 0 ELSE tax END),
    CONSTRAINT placed_has_a_time CHECK ((status = 'placed') <= (placed_at IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE INDEX orders_user ON orders.orders (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX orders_number ON orders.orders (number);

CREATE TABLE orders.order_line (
    order_id     uuid        NOT NULL,
    id           uuid        NOT NULL,
    seller_id    uuid        NOT NULL,
    product_id   uuid        NOT NULL,
    variant_id   uuid        NOT NULL,
    sku          text        NOT NULL,
    name         text        NOT NULL,
    image_url    text,
    quantity     bigint      NOT NULL CHECK (quantity > 0),
    unit_price   bigint      NOT NULL CHECK (unit_price >= 0),
    discount     bigint      NOT NULL CHECK (discount >= 0 AND discount <= quantity * unit_price),
    tax          bigint      NOT NULL CHECK (tax >= 0),
    tax_rate_ppm bigint      NOT NULL,
    total        bigint      NOT NULL,
    discounts    jsonb       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, id)
) PARTITION BY RANGE (order_id);

-- What one seller sees, ships, cancels and is paid for.
CREATE TABLE orders.order_part (
    order_id           uuid        NOT NULL,
    seller_id          uuid        NOT NULL,
    status             text        NOT NULL DEFAULT 'unfulfilled' CHECK (status IN
                           ('unfulfilled', 'partial', 'fulfilled', 'delivered', 'canceled', 'returned')),
    shipping_option    text,
    shipping           bigint      NOT NULL,
    tax                bigint      NOT NULL,
    total              bigint      NOT NULL,
    commission         bigint      NOT NULL CHECK (commission >= 0),
    platform_discount  bigint      NOT NULL CHECK (platform_discount >= 0),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, seller_id)
) PARTITION BY RANGE (order_id);
CREATE INDEX order_part_seller ON orders.order_part (seller_id, order_id);

-- The saga that completes an order or undoes it: small, not partitioned, so that a cart and a key are unique over all time.
CREATE TABLE orders.placement (
    order_id    uuid        PRIMARY KEY,
    cart_id     uuid        UNIQUE,           -- null once the order is rejected or canceled: the cart may be ordered again
    subject     text        NOT NULL,
    key         text,
    fingerprint bytea       NOT NULL,
    step        text        NOT NULL CHECK (step IN ('completing', 'waiting', 'undoing', 'done')),
    refusal     jsonb,                        -- why it is undone; a repeated request gets the same answer
    expires_at  timestamptz NOT NULL,
    nudged      boolean     NOT NULL DEFAULT false,  -- there is news that the attempt at work may not have seen
    attempt     integer     NOT NULL DEFAULT 1,
    lease_owner bigint      NOT NULL,
    lease_until timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (subject, key)
) WITH (fillfactor = 80);
CREATE INDEX placement_due ON orders.placement (lease_until) WHERE step IN ('completing', 'undoing');
CREATE INDEX placement_expiry ON orders.placement (expires_at) WHERE step = 'waiting';

CREATE TABLE orders.timeline (
    order_id   uuid        NOT NULL,
    id         uuid        NOT NULL,
    type       text        NOT NULL,
    data       jsonb       NOT NULL,
    actor_id   uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, id)
) PARTITION BY RANGE (order_id);
