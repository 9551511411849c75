-- Where a seller's parcels come from: on labels, and for the carriers that are asked for one.
CREATE TABLE shipping.sender (
    seller_id  uuid        PRIMARY KEY,
    address    jsonb       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
