-- A payout that its bank contradicts is ended by an admin: who did, and why.
ALTER TABLE payments.payout
    ADD COLUMN settled_by    uuid,
    ADD COLUMN settle_reason text,
    ADD CONSTRAINT settled_for_a_reason CHECK (settled_by IS NULL OR settle_reason IS NOT NULL);
