-- Who has left: the address of a parcel that is still on its way to them goes when it has arrived or was cancelled.
CREATE TABLE shipping.departure (
    user_id    uuid        PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
