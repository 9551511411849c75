-- Who is to be told when there is stock again of a SKU that was sold out; each once, and then the row goes.
CREATE TABLE inventory.subscription (
    sku        text        NOT NULL,
    user_id    uuid        NOT NULL,
    product_id uuid        NOT NULL,
    id         uuid        NOT NULL,  -- by which a list is sorted: of two the newer is higher
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sku, user_id)
);
CREATE UNIQUE INDEX subscription_oldest ON inventory.subscription (sku, id);
CREATE UNIQUE INDEX subscription_user ON inventory.subscription (user_id, id);
