-- A sender's address may be somebody's own: who has set it is remembered, and takes it along. A label keeps it as long as it is asked for.
ALTER TABLE shipping.sender ADD COLUMN user_id uuid;
CREATE INDEX sender_user ON shipping.sender (user_id);
ALTER TABLE shipping.label ALTER COLUMN sender DROP NOT NULL;
UPDATE shipping.label SET sender = NULL WHERE status <> 'asked';
ALTER TABLE shipping.label ADD CONSTRAINT asked_from_somewhere CHECK (status <> 'asked' OR sender IS NOT NULL);
