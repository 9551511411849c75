"""What the books of orders keep at any moment, for the audit."""

from souk.kit.rules import Rule
from souk.orders.parcels import HOW_FAR

FIND_CARTS_ORDERED_TWICE = """
    SELECT 'cart ' || cart_id AS key, jsonb_build_object('orders', jsonb_agg(id ORDER BY id)) AS found
    FROM orders.orders WHERE cart_id IS NOT NULL AND status IN ('draft', 'placed')
    GROUP BY cart_id HAVING count(*) > 1
"""
FIND_WRONG_TOTALS = """
    SELECT id AS key, jsonb_build_object('subtotal', subtotal, 'discount', discount, 'shipping', shipping, 'tax', tax, 'total', total,
                                         'tax_included', tax_included) AS found
    FROM orders.orders
    WHERE total <> subtotal - discount + shipping + CASE WHEN tax_included THEN 0 ELSE tax END
       OR least(subtotal, discount, shipping, tax, total) < 0
"""
FIND_WRONG_LINE_SUMS = """
    SELECT id AS key, jsonb_build_object('subtotal', o.subtotal, 'lines', l.goods, 'discount', o.discount, 'of_lines', l.discount,
                                         'wrong_lines', l.wrong) AS found
    FROM orders.orders AS o
    FULL JOIN (
        SELECT line.order_id AS id, sum(line.quantity * line.unit_price) AS goods, sum(line.discount) AS discount,
               count(*) FILTER (WHERE line.quantity < 1 OR line.total NOT IN (
                   line.quantity * line.unit_price - line.discount, line.quantity * line.unit_price - line.discount + line.tax)) AS wrong
        FROM orders.order_line AS line GROUP BY line.order_id
    ) AS l USING (id)
    WHERE (o.subtotal, o.discount, 0) IS DISTINCT FROM (l.goods, l.discount, l.wrong)
"""
FIND_WRONG_PART_SUMS = """
    SELECT id AS key, jsonb_build_object('total', o.total, 'parts', p.total, 'tax', o.tax, 'of_parts', p.tax,
                                         'shipping', o.shipping, 'shipping_of_parts', p.shipping) AS found
    FROM orders.orders AS o
    FULL JOIN (
        SELECT part.order_id AS id, sum(part.total) AS total, sum(part.tax) AS tax, sum(part.shipping) AS shipping
        FROM orders.order_part AS part GROUP BY part.order_id
    ) AS p USING (id)
    WHERE (o.total, o.tax, o.shipping) IS DISTINCT FROM (p.total, p.tax, p.shipping)
"""
# The saga of an order that was placed or ended may be forgotten; that of one which is canceled may still be undoing.
FIND_WRONG_STATUSES = """
    SELECT o.id AS key, jsonb_build_object('status', o.status, 'payment_status', o.payment_status,
                                           'fulfillment_status', o.fulfillment_status, 'step', p.step) AS found
    FROM orders.orders AS o
    LEFT JOIN orders.placement AS p ON p.order_id = o.id
    WHERE CASE o.status
          WHEN 'draft' THEN p.step IS NULL OR p.step = 'done'
          WHEN 'placed' THEN p.step <> 'done' OR o.placed_at IS NULL OR o.captured <> o.total OR o.fulfillment_status = 'canceled'
              OR o.payment_status NOT IN ('paid', 'partially_refunded', 'refunded')
          WHEN 'rejected' THEN p.step <> 'done' OR p.cart_id IS NOT NULL
          ELSE (p.step = 'done') <> (p.cart_id IS NULL) AND o.cart_id IS NOT NULL OR p.step NOT IN ('done', 'undoing') END
"""
# What came back of an order that was never placed is written on it, too; what came is not.
FIND_WRONG_REFUNDS = """
    SELECT id AS key, jsonb_build_object('captured', captured, 'refunded', refunded, 'payment_status', payment_status) AS found
    FROM orders.orders
    WHERE refunded < 0 OR captured NOT IN (0, total)
       OR placed_at IS NOT NULL AND (
           refunded > captured
           OR captured > 0 AND (payment_status = 'refunded') <> (refunded = captured)
           AND status <> 'canceled')
"""
FIND_WRONG_PIECES = """
    SELECT order_id || ' line ' || line_id AS key,
           jsonb_build_object('quantity', l.quantity, 'canceled', l.canceled, 'counted', ARRAY[l.packed, l.shipped, l.delivered],
                              'in_parcels', ARRAY[p.packed, p.shipped, p.delivered]) AS found
    FROM (SELECT order_id, id AS line_id, quantity, canceled, packed, shipped, delivered FROM orders.order_line) AS l
    FULL JOIN (
        SELECT parcel.order_id, (line ->> 'line_id')::uuid AS line_id, sum((line ->> 'quantity')::bigint) AS packed,
               coalesce(sum((line ->> 'quantity')::bigint) FILTER (WHERE parcel.status IN ('dispatched', 'delivered')), 0) AS shipped,
               coalesce(sum((line ->> 'quantity')::bigint) FILTER (WHERE parcel.status = 'delivered'), 0) AS delivered
        FROM orders.parcel, jsonb_array_elements(parcel.lines) AS line
        WHERE parcel.status <> 'canceled'
        GROUP BY parcel.order_id, 2
    ) AS p USING (order_id, line_id)
    WHERE (l.packed, l.shipped, l.delivered) IS DISTINCT FROM (coalesce(p.packed, 0), coalesce(p.shipped, 0), coalesce(p.delivered, 0))
       OR l.packed + l.canceled > l.quantity
"""
FIND_PARCELS_OF_NOTHING = """
    SELECT p.order_id || ' parcel ' || p.id AS key, jsonb_build_object('status', o.status, 'parcel', p.status) AS found
    FROM orders.parcel AS p LEFT JOIN orders.orders AS o ON o.id = p.order_id
    WHERE p.status <> 'canceled' AND o.status IS DISTINCT FROM 'placed'
"""
FIND_WRONG_PROGRESS = f"""
    SELECT p.order_id || ' part ' || p.seller_id AS key, jsonb_build_object('status', p.status, 'follows', s.status) AS found
    FROM orders.order_part AS p
    JOIN (SELECT order_id, seller_id, {HOW_FAR} AS status FROM orders.order_line GROUP BY order_id, seller_id) AS s
        USING (order_id, seller_id)
    WHERE p.status <> s.status
    UNION ALL
    SELECT o.id::text, jsonb_build_object('status', o.fulfillment_status, 'follows', s.status)
    FROM orders.orders AS o
    JOIN (SELECT order_id, {HOW_FAR} AS status FROM orders.order_line GROUP BY order_id) AS s ON s.order_id = o.id
    WHERE o.fulfillment_status <> s.status
"""
FIND_WRONG_RETURNS = """
    SELECT order_id || ' line ' || line_id AS key,
           jsonb_build_object('line', ARRAY[l.return_open, l.returned], 'returns', ARRAY[r.open, r.received]) AS found
    FROM (SELECT order_id, id AS line_id, return_open, returned FROM orders.order_line) AS l
    FULL JOIN (
        SELECT one.order_id, (item ->> 'line_id')::uuid AS line_id,
               coalesce(sum((item ->> 'quantity')::bigint) FILTER (WHERE one.status IN ('requested', 'approved')), 0)::bigint AS open,
               coalesce(sum((item ->> 'received')::bigint) FILTER (WHERE one.status IN ('received', 'refunded')), 0)::bigint AS received
        FROM orders.returns AS one, jsonb_array_elements(one.items) AS item
        GROUP BY one.order_id, 2
    ) AS r USING (order_id, line_id)
    WHERE (l.return_open, l.returned) IS DISTINCT FROM (coalesce(r.open, 0), coalesce(r.received, 0))
"""
FIND_STUCK_SAGAS = """
    SELECT order_id AS key, jsonb_build_object('step', step, 'attempt', attempt, 'updated_at', updated_at) AS found
    FROM orders.placement
    WHERE step IN ('completing', 'undoing') OR (step = 'waiting' AND expires_at < now() - interval '1 minute')
"""

RULES = (
    Rule("I4.cart", "A cart has at most one order that is waiting or placed", FIND_CARTS_ORDERED_TWICE),
    Rule("I4.total", "A total is goods less discount, with shipping, and with tax where prices have none in them", FIND_WRONG_TOTALS),
    Rule("I4.lines", "An order has lines, and its goods and discount are theirs", FIND_WRONG_LINE_SUMS),
    Rule("I4.parts", "An order has parts, and its total, tax and shipping are theirs", FIND_WRONG_PART_SUMS),
    Rule("I4.status", "The statuses of an order fit each other and the saga that completes it", FIND_WRONG_STATUSES),
    Rule("I4.refunded", "Never more went back than came, and the status of the payment says so", FIND_WRONG_REFUNDS),
    Rule(
        "I7.pieces",
        "The pieces of a line are packed, dispatched and delivered as its parcels are, and no more than were ordered",
        FIND_WRONG_PIECES,
    ),
    Rule("I7.placed", "Nothing is packed of an order that is not placed", FIND_PARCELS_OF_NOTHING),
    Rule("I7.status", "How far orders and their parts are follows from their lines", FIND_WRONG_PROGRESS),
    Rule("I7.returns", "The pieces of a line are on their way back, and back, as its returns say", FIND_WRONG_RETURNS),
    Rule("I4.saga", "No order is stuck on its way", FIND_STUCK_SAGAS, settled=True),
)
