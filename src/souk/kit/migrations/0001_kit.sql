-- What every context keeps beside its own tables. {schema} is the context's schema.

CREATE SCHEMA IF NOT EXISTS {schema};

CREATE SEQUENCE {schema}.outbox_id;

-- The facts of this context, in the order (xid, id). Partitioned by month: old facts are dropped, not deleted.
CREATE TABLE {schema}.outbox (
    xid          bigint      NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    id           bigint      NOT NULL DEFAULT nextval('{schema}.outbox_id'),
    event_id     uuid        NOT NULL,
    type         text        NOT NULL,
    aggregate_id uuid        NOT NULL,
    payload      json        NOT NULL,
    request_id   text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (created_at);
CREATE INDEX outbox_position ON {schema}.outbox (xid, id);

-- Up to where each of our consumers has applied the facts of each source.
CREATE TABLE {schema}.consumer_position (
    consumer   text        NOT NULL,
    source     text        NOT NULL,
    xid        bigint      NOT NULL,
    id         bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, source)
);

-- Facts that a consumer could not apply, and those that wait behind them because they tell of the same aggregate.
CREATE TABLE {schema}.dead_letter (
    consumer     text        NOT NULL,
    event_id     uuid        NOT NULL,
    source       text        NOT NULL,
    xid          bigint      NOT NULL,
    id           bigint      NOT NULL,
    type         text        NOT NULL,
    aggregate_id uuid        NOT NULL,
    payload      json        NOT NULL,
    request_id   text        NOT NULL,
    occurred_at  timestamptz NOT NULL,
    reason       text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX dead_letter_aggregate ON {schema}.dead_letter (consumer, aggregate_id);

-- Who asked what under which Idempotency-Key, and what we answered.
CREATE TABLE {schema}.idempotency_key (
    subject     text        NOT NULL,
    key         text        NOT NULL,
    function    text        NOT NULL,
    fingerprint bytea       NOT NULL,
    answer      bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, key)
);
CREATE INDEX idempotency_key_age ON {schema}.idempotency_key (created_at);
