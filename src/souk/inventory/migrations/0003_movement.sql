-- Where pieces of a transfer went to, or came from.
ALTER TABLE inventory.movement ADD COLUMN other_store_id uuid;
CREATE INDEX movement_sku ON inventory.movement (store_id, sku, id);

CREATE FUNCTION inventory.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER movement_is_append_only BEFORE UPDATE OR DELETE ON inventory.movement
    FOR EACH ROW EXECUTE FUNCTION inventory.refuse_change();

-- What has left of a reservation, and with which parcels: a parcel that is told twice leaves once.
ALTER TABLE inventory.reservation ADD COLUMN shipments uuid[] NOT NULL DEFAULT '{}';
ALTER TABLE inventory.reservation_line ADD COLUMN shipped bigint NOT NULL DEFAULT 0;
ALTER TABLE inventory.reservation_line ADD CONSTRAINT only_what_is_reserved_ships CHECK (shipped BETWEEN 0 AND quantity);
