ALTER TABLE orders.orders ADD CONSTRAINT paid_whole_or_not_at_all CHECK (captured IN (0, total) AND refunded >= 0);
ALTER TABLE orders.order_line ADD CONSTRAINT line_total_is_goods_less_discount
    CHECK (total IN (quantity * unit_price - discount, quantity * unit_price - discount + tax));
