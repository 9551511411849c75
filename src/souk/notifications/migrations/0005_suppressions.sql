-- Addresses to which nothing is sent any more. An address is kept as a hash under the shop's key: it can be known again, and not be read.
CREATE TABLE notifications.suppression (
    address_hash bytea       PRIMARY KEY CHECK (octet_length(address_hash) = 32),
    reason       text        NOT NULL CHECK (reason IN ('bounced', 'complained', 'blocked')),
    letter_id    uuid,       -- that came back, or was called spam
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX suppression_created ON notifications.suppression (created_at, address_hash);
