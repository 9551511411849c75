-- Since when a label is to be taken back: a carrier may take weeks to say whether it does.
ALTER TABLE shipping.label ADD COLUMN voiding_since timestamptz;
