-- Where carriers say a parcel is: an axis of its own beside its status, derived from the events.
ALTER TABLE shipping.shipment
    ADD COLUMN tracking_status text
        CHECK (tracking_status IN ('unknown', 'pre_transit', 'in_transit', 'out_for_delivery', 'available_for_pickup', 'failure', 'delivered',
                                   'return_to_sender', 'cancelled'));

-- What a carrier told of a parcel, once each however often it is told. Partitioned as the parcels are, by their id.
CREATE TABLE shipping.tracking_event (
    shipment_id uuid        NOT NULL,
    carrier     text        NOT NULL,
    event_id    text        NOT NULL,  -- the carrier's own
    status      text        NOT NULL
        CHECK (status IN ('unknown', 'pre_transit', 'in_transit', 'out_for_delivery', 'available_for_pickup', 'failure', 'delivered',
                          'return_to_sender', 'cancelled')),
    message     text,
    place       text,       -- a town at the most; forgotten with the address
    occurred_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shipment_id, carrier, event_id)
) PARTITION BY RANGE (shipment_id);
