CREATE TABLE inventory.store (
    id         uuid        PRIMARY KEY,
    seller_id  uuid        NOT NULL,
    name       text        NOT NULL,
    country    text        NOT NULL,
    priority   integer     NOT NULL DEFAULT 100,  -- of two stores that have it, the lower number ships
    active     boolean     NOT NULL DEFAULT true,
    version    bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX store_seller ON inventory.store (seller_id, id);

CREATE TABLE inventory.stock (
    store_id   uuid        NOT NULL REFERENCES inventory.store,
    sku        text        NOT NULL,
    seller_id  uuid        NOT NULL,
    on_hand    bigint      NOT NULL DEFAULT 0,
    reserved   bigint      NOT NULL DEFAULT 0,
    threshold  bigint      NOT NULL DEFAULT 0,
    version    bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sku, store_id),
    CONSTRAINT stock_is_never_oversold CHECK (0 <= reserved AND reserved <= on_hand)
) WITH (fillfactor = 70);  -- room on the page for the next version of a hot row

-- Every change of on_hand, append-only: on_hand is the sum of its movements.
CREATE TABLE inventory.movement (
    id         uuid        NOT NULL,
    store_id   uuid        NOT NULL,
    sku        text        NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('received', 'adjusted', 'transferred', 'shipped', 'returned')),
    delta      bigint      NOT NULL CHECK (delta <> 0),
    reason     text        NOT NULL,
    order_id   uuid,
    actor_id   uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX movement_store ON inventory.movement (store_id, id);
CREATE INDEX movement_order ON inventory.movement (order_id) WHERE order_id IS NOT NULL;

CREATE TABLE inventory.reservation (
    order_id   uuid        NOT NULL PRIMARY KEY,
    status     text        NOT NULL CHECK (status IN ('held', 'confirmed', 'shipped', 'released')),
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT held_expires CHECK ((status = 'held') = (expires_at IS NOT NULL))
) PARTITION BY RANGE (order_id);
CREATE INDEX reservation_expiry ON inventory.reservation (expires_at) WHERE status = 'held';

CREATE TABLE inventory.reservation_line (
    order_id   uuid        NOT NULL,
    sku        text        NOT NULL,
    store_id   uuid        NOT NULL,
    quantity   bigint      NOT NULL CHECK (quantity > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, sku, store_id)
) PARTITION BY RANGE (order_id);
