-- Sagas that ended are forgotten after a while.
CREATE INDEX placement_age ON orders.placement (updated_at) WHERE step = 'done';
