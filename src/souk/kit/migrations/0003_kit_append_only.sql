-- Facts are never changed or deleted; old ones go with their partition. A trigger of the statement on the whole table costs an insert
-- nothing, and rows can still be brought from the default partition into that of their month.
CREATE FUNCTION {schema}.refuse_change_of_facts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change_of_facts();
