-- When somebody who sends took the last page of a campaign: while they do, nobody plans pages for others.
ALTER TABLE notifications.campaign ADD COLUMN taken_at timestamptz;
