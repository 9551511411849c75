-- Who keeps which product in mind, as reviews told.
CREATE TABLE notifications.favorite (
    product_id uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (product_id, user_id)
);
CREATE INDEX favorite_user ON notifications.favorite (user_id);

-- Products that somebody keeps in mind, how often it was told that their prices may have changed, and up to which of that we looked.
CREATE TABLE notifications.watched_product (
    product_id uuid        PRIMARY KEY,
    changes    bigint      NOT NULL DEFAULT 1,
    seen       bigint      NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT seen_is_what_was_told CHECK (seen <= changes)
);
CREATE INDEX watched_product_changed ON notifications.watched_product (product_id) WHERE seen < changes;

-- The lowest price of a product in a currency from one moment to another; to none: it is that now.
CREATE TABLE notifications.lowest_price (
    product_id uuid        NOT NULL,
    currency   text        NOT NULL,
    since      timestamptz NOT NULL,
    until      timestamptz,
    amount     bigint      NOT NULL CHECK (amount >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (product_id, currency, since)
);
CREATE UNIQUE INDEX one_lowest_price_now ON notifications.lowest_price (product_id, currency) WHERE until IS NULL;

-- A price that has dropped, and up to which user those who keep the product in mind were told.
CREATE TABLE notifications.price_drop (
    id         uuid        PRIMARY KEY,
    product_id uuid        NOT NULL,
    content    jsonb       NOT NULL,
    told_up_to uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
