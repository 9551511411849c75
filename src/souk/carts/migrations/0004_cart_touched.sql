-- Which carts were touched at a time, for the sweep that tells of those that were left. A BRIN index keeps the time of a few pages at once, and
-- changing a cart stays a change of its row alone (HOT; from PostgreSQL 16 on), which an index that knows each row's time would end.
CREATE INDEX cart_touched ON carts.cart USING brin (updated_at) WITH (pages_per_range = 16, autosummarize = on);
