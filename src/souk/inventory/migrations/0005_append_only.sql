CREATE TRIGGER never_emptied BEFORE TRUNCATE ON inventory.movement FOR EACH STATEMENT EXECUTE FUNCTION inventory.refuse_change();
