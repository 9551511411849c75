-- The platform's share in millionths of what a seller sells. Without a seller it is everybody's, without a category everything's.
CREATE TABLE pricing.commission_rule (
    id          uuid        PRIMARY KEY,
    seller_id   uuid,
    category_id uuid,
    rate_ppm    integer     NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT commission_rule_for UNIQUE NULLS NOT DISTINCT (seller_id, category_id)
);
