-- The end of the window in which messages of one topic gather, if they leave as one letter: who comes into the same window joins it.
ALTER TABLE notifications.message ADD COLUMN window_ends_at timestamptz;
CREATE INDEX message_open_letter ON notifications.message (user_id, channel, window_ends_at)
    WHERE status = 'waiting' AND id = letter_id AND window_ends_at IS NOT NULL;
-- What disturbed somebody of late, or will: by this it is counted how much they are told.
CREATE INDEX message_pace ON notifications.message (user_id, due_at)
    WHERE id = letter_id AND NOT mandatory AND status IN ('waiting', 'sending', 'sent') AND channel IN ('email', 'push', 'sms');
CREATE INDEX message_order ON notifications.message (order_id) WHERE order_id IS NOT NULL;

-- People who are gone: what was still on its way to them is not sent.
CREATE TABLE notifications.departure (
    user_id    uuid        PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
