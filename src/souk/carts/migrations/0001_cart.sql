-- What somebody means to buy: a user's, or a guest's who knows the token of which only the hash lies here.
CREATE TABLE carts.cart (
    id               uuid        NOT NULL PRIMARY KEY,
    user_id          uuid,
    guest_token_hash bytea,
    email            text,
    currency         text        NOT NULL,
    coupon           text,
    status           text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'ordered', 'merged')),
    order_id         uuid,
    merged_into      uuid,
    version          bigint      NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cart_has_an_owner CHECK (user_id IS NOT NULL OR guest_token_hash IS NOT NULL)
) PARTITION BY RANGE (id);
CREATE INDEX cart_user ON carts.cart (user_id, id) WHERE user_id IS NOT NULL;

-- One line per SKU. Who sells it and what it is called stays known when the catalogue forgets it; its price is read when it is shown.
CREATE TABLE carts.cart_item (
    cart_id    uuid        NOT NULL,
    sku        text        NOT NULL,
    id         uuid        NOT NULL,
    product_id uuid        NOT NULL,
    variant_id uuid        NOT NULL,
    seller_id  uuid        NOT NULL,
    name       text        NOT NULL,
    quantity   bigint      NOT NULL CHECK (quantity BETWEEN 1 AND 999),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cart_id, sku)
) PARTITION BY RANGE (cart_id);

-- The cart that a user is filling: one each, because the table has one row per user. It is locked before any cart.
CREATE TABLE carts.current_cart (
    user_id    uuid        PRIMARY KEY,
    cart_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
