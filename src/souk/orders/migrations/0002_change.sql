-- What an order that waits for its payment is to become: decided, but its payment may not know yet.
ALTER TABLE orders.placement ADD COLUMN change jsonb;
