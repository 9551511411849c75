-- A request without an Idempotency-Key has nothing to be found by.
CREATE UNIQUE INDEX placement_key ON orders.placement (subject, key) WHERE key IS NOT NULL;
ALTER TABLE orders.placement DROP CONSTRAINT placement_subject_key_key;
