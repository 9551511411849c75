-- When a parcel left; of those that had left before this column, updated_at says it.
ALTER TABLE orders.parcel ADD COLUMN dispatched_at timestamptz;
