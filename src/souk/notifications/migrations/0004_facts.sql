-- What is told of one fact, and the messages of one notice: for the audit, and for who asks what became of something.
CREATE INDEX notice_fact ON notifications.notice (fact_id);
CREATE INDEX message_notice ON notifications.message (notice_id);
