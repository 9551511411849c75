-- What is wrong in the shop, and was: one row from the first that tells of it until nobody has told of it for a while.
CREATE TABLE notifications.alert (
    id         uuid        PRIMARY KEY,
    alert      text        NOT NULL,
    subject    text        NOT NULL,  -- a consumer, a rule, a job, a folder
    text       text        NOT NULL,  -- what was last seen of it
    raised_at  timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ended_after_it_was_seen CHECK (ended_at >= seen_at)
);
CREATE UNIQUE INDEX alert_open ON notifications.alert (alert, subject) WHERE ended_at IS NULL;
CREATE INDEX alert_raised ON notifications.alert (raised_at, id);

-- What the last audit found.
CREATE TABLE notifications.audit_finding (
    rule       text        PRIMARY KEY,
    broken     bigint      NOT NULL CHECK (broken >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
