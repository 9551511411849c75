-- What is told to many at once, at a time. The pages of its fan-out commit with after_user_id, so that whoever goes on leaves nobody out and
-- tells nobody twice; its messages have ids that are derived from the campaign, the user and the channel.
CREATE TABLE notifications.campaign (
    id             uuid        PRIMARY KEY,
    name           text        NOT NULL,
    words          jsonb       NOT NULL,   -- by language
    path           text,                   -- where its button leads
    segment        jsonb       NOT NULL,
    status         text        NOT NULL DEFAULT 'draft'
                               CHECK (status IN ('draft', 'scheduled', 'sending', 'paused', 'sent', 'cancelled')),
    scheduled_at   timestamptz,            -- with local_time: what the clock says then in each recipient's zone, written as if it were UTC
    local_time     boolean     NOT NULL DEFAULT false,
    begun_at       timestamptz,            -- of its messages' ids
    after_user_id  uuid,                   -- up to here its recipients have their messages
    recipients     integer     NOT NULL DEFAULT 0 CHECK (recipients >= 0),
    planned_at     timestamptz,            -- since when all of them have
    finished_at    timestamptz,
    unsettled      boolean     NOT NULL DEFAULT false,  -- it was held, resumed or cancelled, and not all of its messages know
    created_by     uuid        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT due_at_a_time CHECK (status IN ('draft', 'cancelled') OR scheduled_at IS NOT NULL),
    CONSTRAINT begun_at_a_time CHECK (status <> 'sending' OR begun_at IS NOT NULL),
    CONSTRAINT planned_before_it_is_sent CHECK (status <> 'sent' OR (planned_at IS NOT NULL AND finished_at IS NOT NULL))
);
CREATE INDEX campaign_open ON notifications.campaign (scheduled_at) WHERE status IN ('scheduled', 'sending') OR unsettled;
CREATE INDEX message_campaign ON notifications.message (notice_id, status) WHERE kind = 'campaign';
