-- Transaction ids begin anew on another server. After a dump and restore `souk migrate` replaces this function by one that adds
-- what is missing, so that new facts come after the old ones and no consumer's position has to change.
CREATE FUNCTION {schema}.outbox_xid(xid8) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT $1::text::bigint';
ALTER TABLE {schema}.outbox ALTER COLUMN xid SET DEFAULT {schema}.outbox_xid(pg_current_xact_id());
