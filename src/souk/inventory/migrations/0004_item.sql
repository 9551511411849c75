-- Which product a SKU belongs to and who sells it, as the catalogue told.
CREATE TABLE inventory.item (
    sku        text        PRIMARY KEY,
    product_id uuid        NOT NULL,
    seller_id  uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX item_product ON inventory.item (product_id, sku);
