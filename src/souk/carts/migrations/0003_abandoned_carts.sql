-- When it was last told that this cart was left. Not indexed, so that changing a cart stays a change of its row alone.
ALTER TABLE carts.cart ADD COLUMN abandoned_at timestamptz;
