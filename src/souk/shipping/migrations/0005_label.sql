-- A label for a parcel: asked for before its carrier is, and one for each parcel, whatever is repeated or dies. What is open is looked at again
-- at check_at. Partitioned as the parcels are, by their id.
CREATE TABLE shipping.label (
    shipment_id       uuid        NOT NULL PRIMARY KEY,
    carrier           text        NOT NULL,
    service           text,
    currency          text        NOT NULL,
    weight_g          bigint      NOT NULL CHECK (weight_g > 0),
    sender            jsonb       NOT NULL,
    status            text        NOT NULL CHECK (status IN ('asked', 'bought', 'failed', 'voiding', 'voided')),
    attempt           integer     NOT NULL DEFAULT 1,
    carrier_reference text,       -- what the carrier knows the parcel by, kept before the label is paid for
    tracking_number   text,
    price             bigint      CHECK (price >= 0),
    document          bytea       CHECK (octet_length(document) <= 1048576),
    failure_code      text,
    asks              integer     NOT NULL DEFAULT 0,
    check_at          timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT bought_has_a_number CHECK (status NOT IN ('bought', 'voiding', 'voided') OR (tracking_number IS NOT NULL AND carrier_reference IS NOT NULL)),
    CONSTRAINT failed_for_a_reason CHECK (status <> 'failed' OR failure_code IS NOT NULL),
    CONSTRAINT open_is_looked_at CHECK ((status IN ('asked', 'voiding')) = (check_at IS NOT NULL))
) PARTITION BY RANGE (shipment_id);
CREATE INDEX label_due ON shipping.label (check_at) WHERE check_at IS NOT NULL;
CREATE INDEX label_tracking ON shipping.label (carrier, tracking_number) WHERE tracking_number IS NOT NULL;

-- When the carrier of a parcel that is under way is asked next where it is, and how often it was.
ALTER TABLE shipping.shipment ADD COLUMN track_at timestamptz, ADD COLUMN track_asks integer NOT NULL DEFAULT 0;
CREATE INDEX shipment_track ON shipping.shipment (track_at) WHERE track_at IS NOT NULL;
