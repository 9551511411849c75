-- Which process has a gateway asked: when it is gone the question is asked again soon, and not only when its time is over.
ALTER TABLE payments.attempt ADD COLUMN owner bigint;
ALTER TABLE payments.refund ADD COLUMN owner bigint;
