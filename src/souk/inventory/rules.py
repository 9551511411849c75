"""What the books of stock keep at any moment, for the audit."""

from souk.kit.rules import Rule

FIND_OVERSOLD = """
    SELECT sku || ' in ' || store_id AS key, jsonb_build_object('on_hand', on_hand, 'reserved', reserved) AS found
    FROM inventory.stock WHERE reserved < 0 OR reserved > on_hand
"""
FIND_WRONG_RESERVED = """
    SELECT sku || ' in ' || store_id AS key,
           jsonb_build_object('reserved', s.reserved, 'set_aside', coalesce(l.pieces, 0)) AS found
    FROM inventory.stock AS s
    FULL JOIN (
        SELECT line.sku, line.store_id, sum(line.quantity - line.shipped) AS pieces
        FROM inventory.reservation AS r JOIN inventory.reservation_line AS line USING (order_id)
        WHERE r.status IN ('held', 'confirmed')
        GROUP BY line.sku, line.store_id
    ) AS l USING (sku, store_id)
    WHERE coalesce(s.reserved, 0) <> coalesce(l.pieces, 0)
"""
FIND_WRONG_ON_HAND = """
    SELECT sku || ' in ' || store_id AS key, jsonb_build_object('on_hand', s.on_hand, 'moved', coalesce(m.pieces, 0)) AS found
    FROM inventory.stock AS s
    FULL JOIN (SELECT sku, store_id, sum(delta) AS pieces FROM inventory.movement GROUP BY sku, store_id) AS m USING (sku, store_id)
    WHERE coalesce(s.on_hand, 0) <> coalesce(m.pieces, 0)
"""
FIND_WRONG_SHIPPED = """
    SELECT order_id || ' ' || sku || ' in ' || store_id AS key,
           jsonb_build_object('shipped', l.shipped, 'moved', coalesce(m.pieces, 0)) AS found
    FROM (SELECT order_id, sku, store_id, shipped FROM inventory.reservation_line WHERE shipped > 0) AS l
    FULL JOIN (
        SELECT order_id, sku, store_id, -sum(delta) AS pieces
        FROM inventory.movement WHERE kind = 'shipped' GROUP BY order_id, sku, store_id
    ) AS m USING (order_id, sku, store_id)
    WHERE l.shipped IS DISTINCT FROM m.pieces
"""
# One that was released before it was made has no lines; a line without its reservation would count for nobody.
FIND_WRONG_LINES = """
    SELECT order_id AS key, jsonb_build_object('status', r.status, 'lines', l.number, 'shipped', l.shipped) AS found
    FROM inventory.reservation AS r
    FULL JOIN (
        SELECT order_id, count(*) AS number, sum(shipped) AS shipped, sum(quantity) AS quantity
        FROM inventory.reservation_line GROUP BY order_id
    ) AS l USING (order_id)
    WHERE r.order_id IS NULL
       OR (r.status <> 'released' AND l.order_id IS NULL)
       OR (r.status IN ('held', 'released') AND l.shipped > 0)
       OR (r.status = 'confirmed' AND l.shipped = l.quantity)
       OR (r.status = 'shipped' AND l.shipped = 0)
"""
# The job that gives them back runs every few seconds.
FIND_OVERDUE = """
    SELECT order_id AS key, jsonb_build_object('expires_at', expires_at) AS found
    FROM inventory.reservation WHERE status = 'held' AND expires_at < now() - interval '1 minute'
"""

RULES = (
    Rule("I1.levels", "No store has set aside more than it has, or less than nothing", FIND_OVERSOLD),
    Rule("I2.reserved", "What a store has set aside is what held and confirmed reservations still want of it", FIND_WRONG_RESERVED),
    Rule("I2.on_hand", "What lies in a store is the sum of its movements", FIND_WRONG_ON_HAND),
    Rule("I2.shipped", "What has left of a reservation is what moved out for its order", FIND_WRONG_SHIPPED),
    Rule("I2.lines", "A reservation has lines that fit its status", FIND_WRONG_LINES),
    Rule("I2.overdue", "What nobody paid in time is given back", FIND_OVERDUE, settled=True),
)
