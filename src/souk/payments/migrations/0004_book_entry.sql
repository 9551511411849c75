-- What stands in a gateway's book of our attempts and refunds, by the reference that the ledger has for it: capture:<attempt> or
-- refund:<refund>. What the ledger has moved over a gateway's account and this table lacks, the gateway does not know of.
CREATE TABLE payments.book_entry (
    payment_id  uuid        NOT NULL,
    reference   text        NOT NULL,
    gateway     text        NOT NULL,
    external_id text        NOT NULL,              -- what the gateway calls its entry
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payment_id, reference)
) PARTITION BY RANGE (payment_id);

-- The last transfer of ours that was looked for in the gateway's book. Entries that were read before today are not kept: a book that is
-- half read begins now, with the smallest UUIDv7 of this moment.
ALTER TABLE payments.book_position ADD COLUMN compared uuid NOT NULL
    DEFAULT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- A discrepancy is open until a person says what came of it, or the gateway's book agrees with ours.
ALTER TABLE payments.discrepancy
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN closed_by uuid,                     -- nobody: it has resolved itself
    ADD COLUMN close_reason text,
    ADD CONSTRAINT closed_for_a_reason CHECK ((closed_at IS NULL) = (close_reason IS NULL) AND (closed_by IS NULL OR closed_at IS NOT NULL)),
    DROP CONSTRAINT discrepancy_source_check,
    ADD CONSTRAINT discrepancy_source_check CHECK (source IN ('answer', 'webhook', 'book', 'ledger'));
CREATE INDEX discrepancy_open ON payments.discrepancy (id) WHERE closed_at IS NULL;
