-- What is to be paid for an order or a deposit; its id is that of the order or deposit. captured, refunding, refunded, status and
-- what is shown of the attempt are derived from the attempts and refunds by one statement.
CREATE TABLE payments.payment (
    id               uuid        NOT NULL PRIMARY KEY,
    kind             text        NOT NULL CHECK (kind IN ('order', 'deposit')),
    user_id          uuid,
    guest_token_hash text,
    currency         text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount           bigint      NOT NULL CHECK (amount >= 0),
    parts            jsonb       NOT NULL,
    expires_at       timestamptz NOT NULL,
    closed_at        timestamptz,
    close_reason     text,
    captured         bigint      NOT NULL DEFAULT 0,
    refunding        bigint      NOT NULL DEFAULT 0,  -- given back or promised
    refunded         bigint      NOT NULL DEFAULT 0,
    status           text        NOT NULL DEFAULT 'none' CHECK (status IN ('none', 'requires_action', 'pending', 'authorized',
                                     'captured', 'declined', 'voided', 'partially_refunded', 'refunded')),
    method           text,
    decline_code     text,
    redirect_url     text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT never_refunded_above_captured CHECK (0 <= refunded AND refunded <= refunding AND refunding <= captured AND captured <= amount),
    CONSTRAINT deposit_has_an_owner CHECK (kind = 'order' OR user_id IS NOT NULL)
) PARTITION BY RANGE (id);

-- One try to get the money, written before the gateway is asked. A row changes under the lock of its payment only.
CREATE TABLE payments.attempt (
    payment_id   uuid        NOT NULL,
    id           uuid        NOT NULL,
    gateway      text        NOT NULL,
    method       text        NOT NULL,
    amount       bigint      NOT NULL CHECK (amount > 0),
    currency     text        NOT NULL,
    status       text        NOT NULL CHECK (status IN ('pending', 'requires_action', 'captured', 'surplus', 'declined')),
    gateway_id   text,                                 -- what the gateway calls it
    decline_code text,
    redirect_url text,
    fingerprint  bytea       NOT NULL,                 -- of the request, so that a repeated id with another request is refused
    check_at     timestamptz,                          -- when to ask the gateway, while it is open
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payment_id, id),
    CONSTRAINT open_is_checked CHECK ((status IN ('pending', 'requires_action')) = (check_at IS NOT NULL))
) PARTITION BY RANGE (payment_id);
CREATE UNIQUE INDEX attempt_captured_once ON payments.attempt (payment_id) WHERE status = 'captured';
CREATE INDEX attempt_due ON payments.attempt (check_at) WHERE check_at IS NOT NULL;

-- Money on its way back. The row reserves its amount under the lock of the payment before any gateway is asked.
CREATE TABLE payments.refund (
    payment_id   uuid        NOT NULL,
    id           uuid        NOT NULL,
    attempt_id   uuid        NOT NULL,
    amount       bigint      NOT NULL CHECK (amount > 0),
    currency     text        NOT NULL,
    destination  text        NOT NULL CHECK (destination IN ('origin', 'wallet')),
    surplus      boolean     NOT NULL,                 -- of money that was captured although the order was paid already
    reason       text        NOT NULL,
    status       text        NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    gateway_id   text,
    failure_code text,
    check_at     timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payment_id, id),
    CONSTRAINT pending_is_checked CHECK ((status = 'pending') = (check_at IS NOT NULL))
) PARTITION BY RANGE (payment_id);
CREATE INDEX refund_due ON payments.refund (check_at) WHERE check_at IS NOT NULL;

-- Webhooks that we took: each has its effect once. An event tells of one payment, so its key is unique although it begins with that.
CREATE TABLE payments.gateway_event (
    payment_id uuid        NOT NULL,
    gateway    text        NOT NULL,
    event_id   text        NOT NULL,
    type       text        NOT NULL,
    status     text        NOT NULL CHECK (status IN ('applied', 'refused')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payment_id, gateway, event_id)
) PARTITION BY RANGE (payment_id);

-- What a gateway said, in a webhook or in its book, that contradicts ours. Nothing was done; a person looks at it.
CREATE TABLE payments.discrepancy (
    id          uuid        PRIMARY KEY,
    gateway     text        NOT NULL,
    source      text        NOT NULL CHECK (source IN ('answer', 'webhook', 'book')),
    external_id text        NOT NULL,
    reason      text        NOT NULL,
    told        jsonb       NOT NULL,
    payment_id  uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (gateway, source, external_id)
);

-- Up to where each gateway's book was compared with ours.
CREATE TABLE payments.book_position (
    gateway    text        PRIMARY KEY,
    position   text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- One row in a shop that may use the in-process test gateway: a demo.
CREATE TABLE payments.demo (
    is_demo    boolean     PRIMARY KEY DEFAULT true CHECK (is_demo),
    created_at timestamptz NOT NULL DEFAULT now()
);
