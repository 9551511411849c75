-- The trace of the request that a fact comes from (W3C), if there was one to be seen.
ALTER TABLE {schema}.outbox ADD COLUMN traceparent text;
ALTER TABLE {schema}.dead_letter ADD COLUMN traceparent text;
