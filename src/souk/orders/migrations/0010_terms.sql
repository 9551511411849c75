-- What a product was filed under when it was bought, with all categories above: they say on which terms it comes back.
ALTER TABLE orders.order_line ADD COLUMN category_ids uuid[] NOT NULL DEFAULT '{}';
