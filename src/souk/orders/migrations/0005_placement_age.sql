-- The age of a saga by a column that never changes, so that most of its updates need no new index entries.
DROP INDEX orders.placement_age;
CREATE INDEX placement_age ON orders.placement (expires_at) WHERE step = 'done';
