-- unaccent() is only STABLE because its dictionary could be replaced; a generated column wants a function that is IMMUTABLE.
CREATE FUNCTION catalog.plain(words text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN public.unaccent('public.unaccent'::regdictionary, words);

-- Stems find "shirts" for "shirt", and the words as they are find "notebook" for "notebo". These have no positions: one phrase
-- must not begin in the stems and end in the words.
CREATE FUNCTION catalog.words(words text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector('english', catalog.plain(coalesce(words, ''))) || strip(to_tsvector('simple', catalog.plain(coalesce(words, ''))));

-- What a person typed, as a query: quotes, OR and minus as on the web; the last word may be only a beginning.
CREATE FUNCTION catalog.typed(words text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN websearch_to_tsquery('english', catalog.plain(words)) ||
        CASE WHEN words ~ '(^|\s)\w+$' AND numnode(websearch_to_tsquery('simple', catalog.plain(words))) > 0
             THEN (websearch_to_tsquery('simple', catalog.plain(words))::text || ':*')::tsquery
             ELSE ''::tsquery END;

CREATE TABLE catalog.category (
    id         uuid        PRIMARY KEY,
    parent_id  uuid        REFERENCES catalog.category,
    name       text        NOT NULL,
    path       uuid[]      NOT NULL,  -- the ids from the root down to itself
    version    bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT category_name_taken UNIQUE NULLS NOT DISTINCT (parent_id, name),
    CONSTRAINT category_ends_its_path CHECK (array_position(path, id) = cardinality(path)),
    CONSTRAINT category_follows_its_parent CHECK (path[cardinality(path) - 1] IS NOT DISTINCT FROM parent_id)
);
CREATE INDEX category_path ON catalog.category USING gin (path);
CREATE INDEX category_name ON catalog.category (name, id);
CREATE INDEX category_lower_name ON catalog.category (lower(name));

CREATE TABLE catalog.product (
    id                uuid         PRIMARY KEY,
    seller_id         uuid         NOT NULL,
    external_id       text,
    name              text         NOT NULL,
    description       text         NOT NULL DEFAULT '',
    brand             text,
    category_id       uuid         REFERENCES catalog.category,
    attributes        jsonb        NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    tax_category      text         NOT NULL DEFAULT 'standard',
    requires_shipping boolean      NOT NULL DEFAULT true,
    status            text         NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
    rating_average    numeric(3,2) CHECK (rating_average BETWEEN 1 AND 5),
    rating_count      bigint       NOT NULL DEFAULT 0 CHECK (rating_count >= 0),
    version           bigint       NOT NULL DEFAULT 1,
    published_at      timestamptz,
    created_at        timestamptz  NOT NULL DEFAULT now(),
    updated_at        timestamptz  NOT NULL DEFAULT now(),
    document          tsvector     NOT NULL GENERATED ALWAYS AS (
        setweight(catalog.words(name), 'A') || setweight(catalog.words(brand), 'B') || setweight(catalog.words(description), 'D')
    ) STORED,
    CONSTRAINT external_id_taken UNIQUE (seller_id, external_id),
    CONSTRAINT published_at_some_time CHECK (status <> 'published' OR published_at IS NOT NULL),
    CONSTRAINT rated_by_somebody CHECK ((rating_count > 0) = (rating_average IS NOT NULL))
);
CREATE INDEX product_document ON catalog.product USING gin (document);
CREATE INDEX product_newest ON catalog.product (id) WHERE status = 'published';
CREATE INDEX product_seller ON catalog.product (seller_id, id);
CREATE INDEX product_brand ON catalog.product (lower(brand), id) WHERE status = 'published' AND brand IS NOT NULL;
CREATE INDEX product_category_id ON catalog.product (category_id);

-- Every category that a product stands in, its primary one included.
CREATE TABLE catalog.product_category (
    category_id uuid        NOT NULL REFERENCES catalog.category,
    product_id  uuid        NOT NULL REFERENCES catalog.product ON DELETE CASCADE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (category_id, product_id)
);
CREATE INDEX product_category_product ON catalog.product_category (product_id);

CREATE TABLE catalog.variant (
    id         uuid        PRIMARY KEY,
    product_id uuid        NOT NULL REFERENCES catalog.product ON DELETE CASCADE,
    seller_id  uuid        NOT NULL,
    sku        text        NOT NULL CONSTRAINT sku_taken UNIQUE,
    name       text        NOT NULL DEFAULT '',
    attributes jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    weight_g   bigint      NOT NULL DEFAULT 0 CHECK (weight_g >= 0),
    archived   boolean     NOT NULL DEFAULT false,
    version    bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX variant_product ON catalog.variant (product_id, id);

CREATE TABLE catalog.price (
    variant_id uuid        NOT NULL REFERENCES catalog.variant ON DELETE CASCADE,
    currency   text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount     bigint      NOT NULL CHECK (amount >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (variant_id, currency)
);

-- What the cheapest variant of a product costs, by which lists are filtered and sorted; derived from price.
CREATE TABLE catalog.lowest_price (
    product_id uuid        NOT NULL REFERENCES catalog.product ON DELETE CASCADE,
    currency   text        NOT NULL,
    amount     bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (product_id, currency)
);
CREATE INDEX lowest_price_amount ON catalog.lowest_price (currency, amount, product_id);

CREATE TABLE catalog.image (
    id         uuid        PRIMARY KEY,
    product_id uuid        NOT NULL REFERENCES catalog.product ON DELETE CASCADE,
    file       text        NOT NULL UNIQUE,
    width      integer     NOT NULL CHECK (width > 0),
    height     integer     NOT NULL CHECK (height > 0),
    alt        text        NOT NULL DEFAULT '',
    position   integer     NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX image_product ON catalog.image (product_id, position, id);

-- Files that no image refers to, or not yet: written before the file is, so that a crash leaves nothing behind for ever.
CREATE TABLE catalog.loose_file (
    file       text        PRIMARY KEY,
    remove_at  timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX loose_file_due ON catalog.loose_file (remove_at);

-- What inventory last told of each store; the higher version is newer.
CREATE TABLE catalog.stock_level (
    sku        text        NOT NULL,
    store_id   uuid        NOT NULL,
    seller_id  uuid        NOT NULL,
    available  bigint      NOT NULL,
    version    bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sku, store_id)
) WITH (fillfactor = 70);  -- room on the page for the next version of a hot row

-- Sellers whose products nobody else can see for now.
CREATE TABLE catalog.suspended_seller (
    seller_id  uuid        PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE catalog.product_view (
    id         uuid        NOT NULL,
    product_id uuid        NOT NULL,
    user_id    uuid,
    viewed_at  timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX product_view_user ON catalog.product_view (user_id, id) WHERE user_id IS NOT NULL;
