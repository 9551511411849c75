-- What was delivered to whom, and so who may review what. It grows with the orders: partitioned by the parcel's id, whose beginning is its
-- time, so that what lies too far back to be reviewed goes by the month.
CREATE TABLE reviews.purchase (
    shipment_id  uuid        NOT NULL,
    product_id   uuid        NOT NULL,
    user_id      uuid        NOT NULL,
    seller_id    uuid        NOT NULL,
    delivered_at timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shipment_id, product_id)
) PARTITION BY RANGE (shipment_id);
CREATE INDEX purchase_buyer ON reviews.purchase (user_id, product_id);

-- Who sells what, as the catalogue told, and what is gone for good: nobody reviews that any more.
CREATE TABLE reviews.listing (
    product_id uuid        PRIMARY KEY,
    seller_id  uuid        NOT NULL,
    gone       boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Not partitioned: one per buyer and product is a key that no partition by time could hold, and a review is kept as long as its product.
CREATE TABLE reviews.review (
    id               uuid        PRIMARY KEY,
    product_id       uuid        NOT NULL,
    seller_id        uuid        NOT NULL,
    user_id          uuid,       -- null: its author has left
    rating           smallint    NOT NULL CHECK (rating BETWEEN 1 AND 5),
    title            text        NOT NULL DEFAULT '',
    comment          text        NOT NULL DEFAULT '',
    display_name     text,
    verified         boolean     NOT NULL,
    status           text        NOT NULL CHECK (status IN ('pending', 'published', 'rejected', 'withdrawn')),
    reason           text,
    queued_at        timestamptz,  -- since when it waits for an admin
    helpful          bigint      NOT NULL DEFAULT 0 CHECK (helpful >= 0),
    unhelpful        bigint      NOT NULL DEFAULT 0 CHECK (unhelpful >= 0),
    score            bigint      NOT NULL GENERATED ALWAYS AS (helpful - unhelpful) STORED,
    reports          bigint      NOT NULL DEFAULT 0 CHECK (reports >= 0),  -- that no admin has looked at
    reply            text,
    replied_at       timestamptz,
    reply_changed_at timestamptz,
    edited_at        timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_review_per_buyer UNIQUE (product_id, user_id),
    CONSTRAINT rejected_for_a_reason CHECK ((status = 'rejected') = (reason IS NOT NULL)),
    CONSTRAINT pending_waits_for_somebody CHECK (status <> 'pending' OR queued_at IS NOT NULL),
    CONSTRAINT decided_waits_for_nobody CHECK (status IN ('pending', 'published') OR queued_at IS NULL),
    CONSTRAINT reply_has_its_times CHECK ((reply IS NULL) = (replied_at IS NULL) AND (reply IS NULL) = (reply_changed_at IS NULL)),
    CONSTRAINT nobody_has_no_name CHECK (user_id IS NOT NULL OR display_name IS NULL)
);
CREATE INDEX review_newest ON reviews.review (product_id, id) WHERE status = 'published';
CREATE INDEX review_helpful ON reviews.review (product_id, score, id) WHERE status = 'published';
CREATE INDEX review_stars ON reviews.review (product_id, rating, id) WHERE status = 'published';
CREATE INDEX review_author ON reviews.review (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX review_seller ON reviews.review (seller_id, id) WHERE status = 'published';
CREATE INDEX review_queue ON reviews.review (queued_at, id) WHERE queued_at IS NOT NULL;

-- The published reviews of a product, by their stars.
CREATE TABLE reviews.product_rating (
    product_id uuid        PRIMARY KEY,
    stars1     bigint      NOT NULL DEFAULT 0 CHECK (stars1 >= 0),
    stars2     bigint      NOT NULL DEFAULT 0 CHECK (stars2 >= 0),
    stars3     bigint      NOT NULL DEFAULT 0 CHECK (stars3 >= 0),
    stars4     bigint      NOT NULL DEFAULT 0 CHECK (stars4 >= 0),
    stars5     bigint      NOT NULL DEFAULT 0 CHECK (stars5 >= 0),
    count      bigint      NOT NULL GENERATED ALWAYS AS (stars1 + stars2 + stars3 + stars4 + stars5) STORED,
    total      bigint      NOT NULL GENERATED ALWAYS AS (stars1 + 2 * stars2 + 3 * stars3 + 4 * stars4 + 5 * stars5) STORED,
    version    bigint      NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reviews.vote (
    review_id  uuid        NOT NULL REFERENCES reviews.review ON DELETE CASCADE,
    user_id    uuid        NOT NULL,
    helpful    boolean     NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (review_id, user_id)
);
CREATE INDEX vote_user ON reviews.vote (user_id, review_id);

CREATE TABLE reviews.report (
    review_id  uuid        NOT NULL REFERENCES reviews.review ON DELETE CASCADE,
    user_id    uuid        NOT NULL,
    reason     text        NOT NULL CHECK (reason IN ('spam', 'offensive', 'off_topic', 'untrue', 'other')),
    comment    text        NOT NULL DEFAULT '',
    decided    boolean     NOT NULL DEFAULT false,  -- an admin has looked at it
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (review_id, user_id)
);
CREATE INDEX report_user ON reviews.report (user_id, created_at);
