-- The reference was checked row by row, and held users back when a month of activity was dropped. Who notes an activity locks its
-- user against being erased instead, many at once, and who erases a user deletes their activity.
ALTER TABLE users.user_activity DROP CONSTRAINT user_activity_user_id_fkey;
