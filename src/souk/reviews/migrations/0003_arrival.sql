-- A parcel under way is a purchase, too, from the day on which it will have arrived; its seller, or its carrier, may say that it was earlier.
ALTER TABLE reviews.purchase ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
