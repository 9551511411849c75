-- How many reviews somebody has written since when, whether they are still there or not; after a day it begins anew.
CREATE TABLE reviews.pace (
    user_id    uuid        PRIMARY KEY,
    since      timestamptz NOT NULL DEFAULT now(),
    written    bigint      NOT NULL DEFAULT 1 CHECK (written > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
