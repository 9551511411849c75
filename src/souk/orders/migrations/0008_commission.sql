-- The platform's share of each line, frozen with its price. What was placed before had it on the part: its lines share it by what they cost,
-- rounded down, and the first one takes the rest.
ALTER TABLE orders.order_line ADD COLUMN commission bigint NOT NULL DEFAULT 0 CHECK (commission >= 0);
ALTER TABLE orders.order_line ADD COLUMN platform_discount bigint NOT NULL DEFAULT 0 CHECK (platform_discount >= 0);
UPDATE orders.order_line SET platform_discount = (
    SELECT sum((one -> 'amount' ->> 'amount')::bigint) FROM jsonb_array_elements(discounts) AS one WHERE one ->> 'funded_by' = 'platform')
WHERE discounts @> '[{"funded_by": "platform"}]';
WITH shares AS (
    SELECT l.order_id, l.seller_id, l.id, p.commission,
           p.commission * l.total / greatest(sum(l.total) OVER part, 1) AS share, row_number() OVER (part ORDER BY l.id) AS place
    FROM orders.order_line AS l JOIN orders.order_part AS p ON p.order_id = l.order_id AND p.seller_id = l.seller_id
    WHERE p.commission > 0
    WINDOW part AS (PARTITION BY l.order_id, l.seller_id)
), rounded AS (
    SELECT order_id, id, share + CASE WHEN place = 1 THEN commission - sum(share) OVER (PARTITION BY order_id, seller_id) ELSE 0 END AS share
    FROM shares
)
UPDATE orders.order_line AS l SET commission = r.share FROM rounded AS r WHERE l.order_id = r.order_id AND l.id = r.id;
