-- What takes something off a price. With a code it is a coupon, without one it applies by itself. Its owner pays for it.
CREATE TABLE pricing.promotion (
    id                    uuid        PRIMARY KEY,
    seller_id             uuid,       -- null: the platform's
    code                  text        UNIQUE CHECK (code = upper(code)),
    name                  text        NOT NULL,
    kind                  text        NOT NULL CHECK (kind IN ('percentage', 'fixed', 'free_shipping')),
    currency              text,       -- null: any; the currency of all amounts below
    rate_ppm              integer     CHECK (rate_ppm BETWEEN 1 AND 1000000),
    amount                bigint      CHECK (amount > 0),
    minimum               bigint      CHECK (minimum > 0),
    seller_ids            uuid[]      NOT NULL DEFAULT '{}',  -- these three empty: for everything
    category_ids          uuid[]      NOT NULL DEFAULT '{}',
    product_ids           uuid[]      NOT NULL DEFAULT '{}',
    starts_at             timestamptz,
    ends_at               timestamptz,
    active                boolean     NOT NULL DEFAULT true,
    priority              integer     NOT NULL DEFAULT 100,   -- the lower number goes first
    combinable            boolean     NOT NULL DEFAULT false,
    user_id               uuid,       -- the only one who may use the coupon
    usage_limit           bigint,
    usage_limit_per_buyer bigint,
    budget                bigint      CHECK (budget > 0),
    uses                  bigint      NOT NULL DEFAULT 0,
    spent                 bigint      NOT NULL DEFAULT 0,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT promotion_value CHECK ((kind = 'percentage') = (rate_ppm IS NOT NULL) AND (kind = 'fixed') = (amount IS NOT NULL)),
    CONSTRAINT promotion_amounts_have_a_currency CHECK (currency IS NOT NULL OR coalesce(amount, minimum, budget) IS NULL),
    CONSTRAINT promotion_ends_after_it_starts CHECK (starts_at < ends_at),
    CONSTRAINT promotion_limits_need_a_code
        CHECK (code IS NOT NULL OR (user_id IS NULL AND coalesce(usage_limit, usage_limit_per_buyer, budget) IS NULL AND uses = 0)),
    CONSTRAINT promotion_is_never_overused CHECK (0 <= uses AND uses <= usage_limit),
    CONSTRAINT promotion_is_never_overspent CHECK (0 <= spent AND spent <= budget)
) WITH (fillfactor = 70);  -- room on the page for the next version of a hot coupon
CREATE INDEX promotion_live ON pricing.promotion (seller_id, (coalesce(ends_at, 'infinity'::timestamptz))) WHERE code IS NULL AND active;
CREATE INDEX promotion_owner ON pricing.promotion (seller_id, id);
CREATE INDEX promotion_user ON pricing.promotion (user_id) WHERE user_id IS NOT NULL;

-- Which order used which coupon. An order whose coupon was given back before it was used has a row without one.
CREATE TABLE pricing.redemption (
    order_id     uuid        NOT NULL PRIMARY KEY,
    promotion_id uuid,
    code         text,
    buyer        text,
    currency     text,
    discount     bigint      CHECK (discount >= 0),
    status       text        NOT NULL CHECK (status IN ('redeemed', 'restored')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT redemption_is_of_a_coupon
        CHECK (status = 'restored' OR (promotion_id IS NOT NULL AND code IS NOT NULL AND buyer IS NOT NULL AND discount IS NOT NULL))
) PARTITION BY RANGE (order_id);
CREATE INDEX redemption_promotion ON pricing.redemption (promotion_id, order_id);
CREATE INDEX redemption_buyer ON pricing.redemption (buyer);

-- How often a buyer used a coupon, with the limit that held when it was counted last.
CREATE TABLE pricing.buyer_usage (
    promotion_id uuid        NOT NULL,
    buyer        text        NOT NULL,
    uses         bigint      NOT NULL,
    usage_limit  bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (promotion_id, buyer),
    CONSTRAINT buyer_is_within_the_limit CHECK (0 <= uses AND uses <= usage_limit)
) PARTITION BY RANGE (promotion_id);

CREATE TABLE pricing.tax_rate (
    id           uuid        PRIMARY KEY,
    country      text        NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    region       text        CHECK (region = upper(region)),  -- null: the whole country
    tax_category text        NOT NULL,
    name         text        NOT NULL,
    rate_ppm     integer     NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    zero_reason  text        CHECK (zero_reason IN ('zero_rated', 'exempt', 'export', 'reverse_charge', 'not_collected')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tax_rate_place UNIQUE NULLS NOT DISTINCT (country, region, tax_category),
    CONSTRAINT zero_has_a_reason CHECK ((rate_ppm = 0) = (zero_reason IS NOT NULL))
);
