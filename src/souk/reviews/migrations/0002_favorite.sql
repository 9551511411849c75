CREATE TABLE reviews.favorite (
    user_id    uuid        NOT NULL,
    product_id uuid        NOT NULL,
    id         uuid        NOT NULL,  -- by which a list is sorted: of two the newer is higher
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, product_id)
);
CREATE UNIQUE INDEX favorite_newest ON reviews.favorite (user_id, id);
CREATE INDEX favorite_product ON reviews.favorite (product_id);
