-- What of a campaign still waits, in the order in which it is held, let go or withdrawn.
CREATE INDEX message_campaign_waiting ON notifications.message (notice_id, id) WHERE kind IN ('campaign', 'recommendations') AND status = 'waiting';
