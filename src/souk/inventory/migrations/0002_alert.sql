-- An alert comes when what is available falls to the threshold; without a threshold none does.
ALTER TABLE inventory.stock ALTER COLUMN threshold DROP NOT NULL, ALTER COLUMN threshold DROP DEFAULT;
ALTER TABLE inventory.stock ADD CONSTRAINT threshold_is_a_number_of_pieces CHECK (threshold >= 0);
CREATE INDEX stock_store ON inventory.stock (store_id, sku);

CREATE TABLE inventory.alert (
    id         uuid        PRIMARY KEY,
    store_id   uuid        NOT NULL,
    seller_id  uuid        NOT NULL,
    sku        text        NOT NULL,
    available  bigint      NOT NULL,  -- when it was raised
    threshold  bigint      NOT NULL,
    closed_at  timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX alert_open ON inventory.alert (store_id, sku) WHERE closed_at IS NULL;
CREATE INDEX alert_seller ON inventory.alert (seller_id, id);
