-- What somebody finds in the shop itself: one row per message that went by the channel in_app, written in the transaction that marks the
-- message as sent, under its id. (xid, place) is where it lies in its reader's feed: below the oldest running transaction nothing new
-- can appear any more, so that whoever has read up to there misses nothing (as with the outbox).
CREATE SEQUENCE notifications.feed_place;
CREATE TABLE notifications.feed_item (
    id          uuid        PRIMARY KEY,
    user_id     uuid        NOT NULL,
    xid         bigint      NOT NULL DEFAULT notifications.outbox_xid(pg_current_xact_id()),
    place       bigint      NOT NULL DEFAULT nextval('notifications.feed_place'),
    kind        text        NOT NULL,
    topic       text        NOT NULL,
    message     text        NOT NULL,
    link        text,
    data        jsonb       NOT NULL,
    sent_at     timestamptz NOT NULL DEFAULT now(),
    read_at     timestamptz,
    archived_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (id);
CREATE INDEX feed_item_user ON notifications.feed_item (user_id, xid, place);
-- What somebody has not read is counted, not kept as a number: there is nothing that could drift.
CREATE INDEX feed_item_unread ON notifications.feed_item (user_id, xid, place) WHERE read_at IS NULL AND archived_at IS NULL;

-- What a browser opens a stream with, once: it cannot send a header then. Only the digest is kept, and not for long.
CREATE TABLE notifications.stream_ticket (
    digest     bytea       PRIMARY KEY,
    user_id    uuid        NOT NULL,
    session_id uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stream_ticket_age ON notifications.stream_ticket (created_at);
