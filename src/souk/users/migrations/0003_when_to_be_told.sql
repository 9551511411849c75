-- When somebody does not want to be disturbed, in their own time zone, and of what they want to hear only now and then.
ALTER TABLE users.user_preferences ADD COLUMN quiet_hours jsonb, ADD COLUMN digests jsonb NOT NULL DEFAULT '{}';
