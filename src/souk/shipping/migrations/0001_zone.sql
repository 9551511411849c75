-- Where somebody ships to: countries (none: everywhere), narrowed by the beginnings of postal codes.
CREATE TABLE shipping.zone (
    id             uuid        PRIMARY KEY,
    seller_id      uuid,       -- null: the platform's, for every seller who has no rate of their own
    name           text        NOT NULL,
    countries      text[]      NOT NULL DEFAULT '{}',
    postal_include text[]      NOT NULL DEFAULT '{}',
    postal_exclude text[]      NOT NULL DEFAULT '{}',
    priority       integer     NOT NULL DEFAULT 100,  -- of two zones that fit equally well the lower number serves
    active         boolean     NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT postal_codes_need_a_country CHECK (countries <> '{}' OR (postal_include = '{}' AND postal_exclude = '{}'))
);
CREATE INDEX zone_owner ON shipping.zone (seller_id, id);

-- Methods and rates belong to their zone: they are written anew when it changes.
CREATE TABLE shipping.method (
    zone_id    uuid        NOT NULL REFERENCES shipping.zone ON DELETE CASCADE,
    option     text        NOT NULL,
    name       text        NOT NULL,
    days_min   integer     NOT NULL CHECK (days_min >= 0),
    days_max   integer     NOT NULL CHECK (days_max >= days_min),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (zone_id, option)
);

-- A price of a method for parcels within these bounds; the cheapest that fits is taken. Without bounds it is a flat rate.
CREATE TABLE shipping.rate (
    zone_id        uuid        NOT NULL,
    option         text        NOT NULL,
    place          integer     NOT NULL,
    currency       text        NOT NULL,
    price          bigint      NOT NULL CHECK (price >= 0),
    weight_from_g  bigint      NOT NULL CHECK (weight_from_g >= 0),
    weight_below_g bigint      CHECK (weight_below_g > weight_from_g),
    total_from     bigint      NOT NULL CHECK (total_from >= 0),
    total_below    bigint      CHECK (total_below > total_from),
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (zone_id, option, place),
    FOREIGN KEY (zone_id, option) REFERENCES shipping.method ON DELETE CASCADE
);
