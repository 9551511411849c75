-- People. Everything below that is theirs goes when their row goes.
CREATE TABLE users.users (
    id                  uuid        PRIMARY KEY,
    email               text        NOT NULL UNIQUE CHECK (email = lower(email)),
    email_verified_at   timestamptz,
    username            text,
    name                text,
    phone_number        text,
    password_digest     text,  -- null: an imported user, who gets a password by the way for forgotten ones
    password_changed_at timestamptz NOT NULL DEFAULT now(),
    roles               text[]      NOT NULL DEFAULT '{buyer}' CHECK (roles <@ '{buyer,seller,admin}'),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_username ON users.users (lower(username)) WHERE username IS NOT NULL;

-- Ids that are not to come back, whatever is imported or replayed.
CREATE TABLE users.erased_user (
    user_id    uuid        PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users.session (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES users.users ON DELETE CASCADE,
    address_hash bytea       NOT NULL,  -- keyed hash of where it was opened: no stranger there, see throttling.py
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX session_owner ON users.session (user_id);
CREATE INDEX session_expiry ON users.session (expires_at);

CREATE TABLE users.refresh_token (
    token_hash bytea       PRIMARY KEY,
    session_id uuid        NOT NULL REFERENCES users.session ON DELETE CASCADE,
    spent_at   timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refresh_token_session ON users.refresh_token (session_id);
CREATE INDEX refresh_token_spent ON users.refresh_token (spent_at) WHERE spent_at IS NOT NULL;

-- Access tokens of this user or session that are older than this are void. Kept while such tokens live.
CREATE TABLE users.revocation (
    subject_id uuid        PRIMARY KEY,
    before     timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX revocation_before ON users.revocation (before);

-- Ed25519 keys that sign access tokens; the private half is sealed (AES-GCM) under a secret that is not in the database.
CREATE TABLE users.signing_key (
    kid        text        PRIMARY KEY,
    public_key bytea       NOT NULL,
    sealed     bytea       NOT NULL,
    signs_from timestamptz NOT NULL,
    expires_at timestamptz,  -- null: the newest; later its tokens are checked until then
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- One-time tokens that prove a mailbox.
CREATE TABLE users.mail_token (
    token_hash bytea       PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users.users ON DELETE CASCADE,
    purpose    text        NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
    email      text        NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX mail_token_user ON users.mail_token (user_id, purpose);
CREATE INDEX mail_token_expiry ON users.mail_token (expires_at);

-- When something was tried of late, under a keyed hash of who and where; losing it in a crash of the server costs nothing.
CREATE UNLOGGED TABLE users.attempt (
    key        bytea         PRIMARY KEY,
    tried_at   timestamptz[] NOT NULL,
    created_at timestamptz   NOT NULL DEFAULT now(),
    updated_at timestamptz   NOT NULL DEFAULT now()
);
CREATE INDEX attempt_age ON users.attempt (updated_at);

CREATE TABLE users.address (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES users.users ON DELETE CASCADE,
    name         text        NOT NULL,
    line1        text        NOT NULL,
    line2        text,
    city         text        NOT NULL,
    region       text,
    postal_code  text        NOT NULL,
    country      text        NOT NULL,
    phone_number text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX address_user ON users.address (user_id, id);

CREATE TABLE users.user_preferences (
    user_id       uuid        PRIMARY KEY REFERENCES users.users ON DELETE CASCADE,
    categories    text[]      NOT NULL,
    brands        text[]      NOT NULL,
    language      text        NOT NULL,
    currency      text,
    timezone      text        NOT NULL,
    notifications jsonb       NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- What somebody looked at and bought. The id is the event's.
CREATE TABLE users.user_activity (
    id                 uuid        NOT NULL PRIMARY KEY,
    user_id            uuid        NOT NULL REFERENCES users.users ON DELETE CASCADE,
    activity_type      text        NOT NULL CHECK (activity_type IN ('view', 'purchase')),
    activity_timestamp timestamptz NOT NULL,
    product_id         uuid,
    order_id           uuid,
    created_at         timestamptz NOT NULL DEFAULT now(),
    CHECK ((activity_type = 'view') = (product_id IS NOT NULL)),
    CHECK ((activity_type = 'purchase') = (order_id IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE INDEX user_activity_user ON users.user_activity (user_id, activity_timestamp DESC, id DESC);

CREATE TABLE users.seller (
    id            uuid        PRIMARY KEY,
    name          text        NOT NULL,
    description   text,
    contact_email text,
    status        text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'rejected', 'suspended')),
    reason        text,  -- why it was rejected or suspended
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX seller_status ON users.seller (status, id);

CREATE TABLE users.seller_member (
    seller_id  uuid        NOT NULL REFERENCES users.seller,
    user_id    uuid        NOT NULL REFERENCES users.users ON DELETE CASCADE,
    role       text        NOT NULL CHECK (role IN ('owner', 'member')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (seller_id, user_id)
);
CREATE INDEX seller_member_user ON users.seller_member (user_id, seller_id);

-- People as others see them: who belongs to an approved seller has the role seller. An access token has room for 40 sellers.
CREATE VIEW users.person AS
SELECT u.id, u.username, u.email, u.phone_number, u.name, u.email_verified_at IS NOT NULL AS email_verified, selling.sellers,
       CASE WHEN selling.sellers = '{}' OR 'seller' = ANY (u.roles) THEN u.roles ELSE u.roles || 'seller'::text END AS roles,
       u.created_at, u.updated_at
FROM users.users AS u
CROSS JOIN LATERAL (
    SELECT array(
        SELECT m.seller_id FROM users.seller_member AS m JOIN users.seller AS s ON s.id = m.seller_id
        WHERE m.user_id = u.id AND s.status = 'approved'
        ORDER BY m.created_at, m.seller_id LIMIT 40
    ) AS sellers
    OFFSET 0  -- read once, though it is named twice
) AS selling;
