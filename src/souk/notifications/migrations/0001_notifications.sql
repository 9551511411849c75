-- What somebody is to be told: one row per fact and recipient, written in the transaction that applied the fact. The id is derived from
-- the fact, its time, the kind and the recipient, so that nothing is told twice; its beginning is the fact's time, and old ones go by the month.
CREATE TABLE notifications.notice (
    id             uuid        PRIMARY KEY,
    kind           text        NOT NULL,
    fact_id        uuid        NOT NULL,  -- the event, or the request, that it comes from
    recipient_kind text        NOT NULL CHECK (recipient_kind IN ('user', 'seller', 'order', 'admins')),
    recipient_id   uuid        NOT NULL,  -- of a user, a seller (its team), an order (its buyer, who may be a guest); nobody's for admins
    content        jsonb       NOT NULL,  -- ids, amounts, SKUs, names of goods: nothing of a person
    status         text        NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'planned', 'dropped')),
    reason         text,                  -- why nobody was told
    occurred_at    timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT dropped_for_a_reason CHECK ((status = 'dropped') = (reason IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE INDEX notice_new ON notifications.notice (id) WHERE status = 'new';

-- One notice to one person on one channel. Several may leave in one letter (a digest): then letter_id is the id of the first.
CREATE TABLE notifications.message (
    id           uuid        PRIMARY KEY,
    letter_id    uuid        NOT NULL,
    notice_id    uuid        NOT NULL,  -- or the campaign that it belongs to
    user_id      uuid,                  -- null: a guest, known by their order
    order_id     uuid,
    seller_id    uuid,                  -- told as one of this seller's team
    channel      text        NOT NULL CHECK (channel IN ('email', 'in_app', 'push', 'sms', 'webhook')),
    kind         text        NOT NULL,
    topic        text        NOT NULL,
    mandatory    boolean     NOT NULL,
    content      jsonb       NOT NULL,
    status       text        NOT NULL CHECK (status IN ('waiting', 'sending', 'sent', 'suppressed', 'failed')),
    reason       text,                  -- why it was not sent; while it waits, why it was not sent yet
    due_at       timestamptz NOT NULL,
    give_up_at   timestamptz NOT NULL,  -- from then on it is not tried again
    attempts     integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    owner        integer,               -- of the lease: the process that sends it
    decided_at   timestamptz,           -- when we last looked whether its recipient wants it
    sent_at      timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT somebody_is_told CHECK (user_id IS NOT NULL OR order_id IS NOT NULL),
    CONSTRAINT unsent_for_a_reason CHECK (status NOT IN ('suppressed', 'failed') OR reason IS NOT NULL),
    CONSTRAINT sending_is_somebodys CHECK ((status = 'sending') = (owner IS NOT NULL)),
    CONSTRAINT sent_at_a_time CHECK ((status = 'sent') = (sent_at IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE INDEX message_due ON notifications.message (channel, due_at) WHERE status = 'waiting' AND id = letter_id;
CREATE INDEX message_sending ON notifications.message (channel, owner) WHERE status = 'sending';
CREATE INDEX message_letter ON notifications.message (letter_id);
CREATE INDEX message_user ON notifications.message (user_id, id);
