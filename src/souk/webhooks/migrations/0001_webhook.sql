-- Who is told of what, and where. Whoever adds to its deliveries, or writes down what became of one, holds the lock of this row, so that
-- their order is one. Without a seller it is the shop's own.
CREATE TABLE webhooks.webhook (
    id              uuid        PRIMARY KEY,
    seller_id       uuid,
    url             text        NOT NULL,
    events          text[]      NOT NULL,
    description     text        NOT NULL DEFAULT '',
    status          text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled')),
    disabled_reason text        CHECK (disabled_reason IN ('gone', 'failing')),
    active_since    timestamptz NOT NULL DEFAULT now(),  -- what happened before is not told
    failing_since   timestamptz,
    last_place      bigint      NOT NULL DEFAULT 0,
    due_at          timestamptz,  -- when the first of what waits is to be sent; null if nothing waits
    steady          boolean     NOT NULL DEFAULT true,  -- the last attempt was neither slow nor a failure
    lease_owner     bigint      NOT NULL DEFAULT 0,
    lease_until     timestamptz NOT NULL DEFAULT '-infinity',
    turn            bigint      NOT NULL DEFAULT 0,  -- of those who took the lease
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT hears_of_something CHECK (cardinality(events) BETWEEN 1 AND 100),
    CONSTRAINT disabled_for_a_reason CHECK ((status = 'disabled') = (disabled_reason IS NOT NULL))
);
CREATE INDEX webhook_owner ON webhooks.webhook (seller_id, id);
CREATE INDEX webhook_due ON webhooks.webhook (steady, due_at) WHERE status = 'active' AND due_at IS NOT NULL;

-- What signs: the newest without an end, and those before it as long as they sign along. Sealed; the shop's secret opens them.
CREATE TABLE webhooks.secret (
    id         uuid        PRIMARY KEY,
    webhook_id uuid        NOT NULL REFERENCES webhooks.webhook ON DELETE CASCADE,
    sealed     bytea       NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX secret_webhook ON webhooks.secret (webhook_id);
CREATE UNIQUE INDEX one_newest_secret ON webhooks.secret (webhook_id) WHERE expires_at IS NULL;

-- An event on its way to a webhook, once each. It grows with the events: partitioned by the event's id, whose beginning is its time. What is
-- sent again takes a new place behind all others. A webhook that is removed leaves its deliveries to their month.
CREATE TABLE webhooks.delivery (
    webhook_id uuid        NOT NULL,
    event_id   uuid        NOT NULL,
    place      bigint      NOT NULL CHECK (place > 0),
    type       text        NOT NULL,
    payload    text        NOT NULL,
    status      text        NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'failed')),
    attempts   integer     NOT NULL DEFAULT 0,
    tries      integer     NOT NULL DEFAULT 0,  -- of these attempts, since it waits at this place
    settled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, webhook_id),
    CONSTRAINT tries_are_attempts CHECK (tries BETWEEN 0 AND attempts),
    CONSTRAINT settled_has_a_time CHECK ((status = 'waiting') = (settled_at IS NULL)),
    CONSTRAINT settled_was_tried CHECK (status = 'waiting' OR attempts > 0)
) PARTITION BY RANGE (event_id);
CREATE INDEX delivery_place ON webhooks.delivery (webhook_id, place);
CREATE INDEX delivery_waiting ON webhooks.delivery (webhook_id, place) WHERE status = 'waiting';

CREATE TABLE webhooks.attempt (
    webhook_id  uuid        NOT NULL,
    event_id    uuid        NOT NULL,
    number      integer     NOT NULL CHECK (number > 0),
    status      integer,
    error       text,
    duration_ms integer     NOT NULL CHECK (duration_ms >= 0),
    answer      text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, webhook_id, number),
    CONSTRAINT answered_or_failed CHECK ((status IS NULL) = (error IS NOT NULL))
) PARTITION BY RANGE (event_id);
