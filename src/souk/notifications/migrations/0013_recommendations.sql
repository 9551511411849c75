-- What is recommended each week is told page by page like any campaign; its words are of its kind, and its content is of each reader.
ALTER TABLE notifications.campaign
    ADD COLUMN kind text NOT NULL DEFAULT 'campaign' CONSTRAINT campaign_is_of_a_kind CHECK (kind IN ('campaign', 'recommendations')),
    ADD CONSTRAINT campaign_has_words CHECK (kind <> 'campaign' OR words <> '{}');
DROP INDEX notifications.message_campaign;
CREATE INDEX message_campaign ON notifications.message (notice_id, status) WHERE kind IN ('campaign', 'recommendations');
