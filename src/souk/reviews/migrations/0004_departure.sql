-- Who has left: what arrives for them afterwards is no purchase of anybody.
CREATE TABLE reviews.departure (
    user_id    uuid        PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
