-- A campaign may be told on some channels alone; null: wherever its recipients want to hear of it.
ALTER TABLE notifications.campaign ADD COLUMN channels text[] CHECK (cardinality(channels) > 0);
