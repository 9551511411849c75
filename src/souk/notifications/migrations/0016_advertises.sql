-- What somebody waits for (a new password, a parcel) leaves before what only advertises, however much of that is due. Messages of
-- a release before this one count as what somebody waits for.
ALTER TABLE notifications.message ADD COLUMN advertises boolean NOT NULL DEFAULT false;
DROP INDEX notifications.message_due;
CREATE INDEX message_due ON notifications.message (channel, advertises, due_at) WHERE status = 'waiting' AND id = letter_id;
-- What of a campaign is still open is found by its messages that wait, and by those that are just leaving; the rest by message_notice.
DROP INDEX notifications.message_campaign;
CREATE INDEX message_campaign_leaving ON notifications.message (notice_id) WHERE kind IN ('campaign', 'recommendations') AND status = 'sending';
