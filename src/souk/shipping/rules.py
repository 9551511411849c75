"""What the books of shipping keep at any moment, for the audit."""

from souk.kit.rules import Rule
from souk.shipping.tracking import FIRST

FIND_WRONG_PLACES = f"""
    SELECT coalesce(s.id, d.shipment_id) AS key, jsonb_build_object('tracking_status', s.tracking_status, 'follows', d.status) AS found
    FROM shipping.shipment AS s
    FULL JOIN (SELECT DISTINCT ON (shipment_id) shipment_id, status FROM shipping.tracking_event ORDER BY shipment_id, {FIRST}) AS d
        ON d.shipment_id = s.id
    WHERE s.tracking_status IS DISTINCT FROM d.status OR s.id IS NULL
"""
# One that its carrier does not take back stays bought, and says why.
FIND_IDLE_LABELS = """
    SELECT l.shipment_id AS key, jsonb_build_object('label', l.status, 'parcel', s.status, 'carrier', l.carrier) AS found
    FROM shipping.label AS l LEFT JOIN shipping.shipment AS s ON s.id = l.shipment_id
    WHERE s.id IS NULL OR (l.status = 'bought' AND s.status = 'canceled' AND l.failure_code IS NULL)
"""
# A carrier that has said why a label is not given back yet has answered, and is asked every day.
FIND_OPEN_LABELS = """
    SELECT shipment_id AS key, jsonb_build_object('label', status, 'carrier', carrier, 'asks', asks, 'check_at', check_at) AS found
    FROM shipping.label WHERE check_at IS NOT NULL AND failure_code IS NULL
"""

RULES = (
    Rule("I7.tracking", "A parcel is where the newest or final event of its carrier says", FIND_WRONG_PLACES),
    Rule("I7.labels", "A label is of a parcel, and that of one which was cancelled goes back", FIND_IDLE_LABELS),
    Rule("I7.carriers", "No carrier owes an answer about a label", FIND_OPEN_LABELS, settled=True),
)
