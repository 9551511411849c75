-- Carts of guests by age, for their removal; neither column changes with the cart, so a change stays one of the row alone.
CREATE INDEX cart_guest ON carts.cart (created_at) WHERE user_id IS NULL;
