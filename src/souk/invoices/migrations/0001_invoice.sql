-- An invoice or a credit note as it was issued, whole: it is never changed or deleted. Partitioned by its order's id, whose beginning is
-- its time. The cause of an invoice is its order, that of a credit note the refund for which it was written.
CREATE TABLE invoices.invoice (
    order_id         uuid        NOT NULL,
    id               uuid        NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
    cause_id         uuid        NOT NULL,
    seller_id        uuid        NOT NULL,
    user_id          uuid,       -- the buyer; null for a guest, whose token has this hash
    guest_token_hash bytea,
    number           text        NOT NULL,
    invoice_id       uuid,       -- of a credit note: what it corrects
    currency         text        NOT NULL,
    total            bigint      NOT NULL CHECK (total >= 0),
    tax              bigint      NOT NULL CHECK (tax BETWEEN 0 AND total),
    content          jsonb       NOT NULL,
    issued_at        timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, id),
    CONSTRAINT issued_once UNIQUE (order_id, seller_id, kind, cause_id),
    CONSTRAINT a_credit_note_corrects_an_invoice CHECK ((kind = 'credit_note') = (invoice_id IS NOT NULL)),
    CONSTRAINT the_cause_of_an_invoice_is_its_order CHECK ((kind = 'invoice') = (cause_id = order_id))
) PARTITION BY RANGE (order_id);
CREATE INDEX invoice_user ON invoices.invoice (user_id, id) WHERE user_id IS NOT NULL;

-- Up to where a seller's invoices or credit notes of a year are numbered. Whoever issues one holds the row's lock and raises it in the
-- same transaction: a transaction that fails leaves no gap, which a sequence would.
CREATE TABLE invoices.counter (
    seller_id      uuid        NOT NULL,
    series         text        NOT NULL CHECK (series IN ('invoice', 'credit_note')),
    year           integer     NOT NULL,
    last           bigint      NOT NULL DEFAULT 0 CHECK (last >= 0),
    last_issued_at timestamptz, -- a higher number never bears an earlier time
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (seller_id, series, year)
);

-- Which document bears a number: not partitioned, so that a number is unique over all time and a document found by its id alone.
CREATE TABLE invoices.number (
    seller_id  uuid        NOT NULL,
    series     text        NOT NULL,
    year       integer     NOT NULL,
    counter    bigint      NOT NULL CHECK (counter > 0),
    invoice_id uuid        NOT NULL,
    order_id   uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT numbered_once PRIMARY KEY (seller_id, series, year, counter),
    CONSTRAINT one_number_each UNIQUE (invoice_id)
);
CREATE INDEX number_seller ON invoices.number (seller_id, year, invoice_id);

-- How much of an invoice its credit notes have taken back.
CREATE TABLE invoices.credit (
    order_id     uuid        NOT NULL,
    invoice_id   uuid        NOT NULL,
    total        bigint      NOT NULL,
    tax          bigint      NOT NULL,
    credited     bigint      NOT NULL DEFAULT 0,
    credited_tax bigint      NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, invoice_id),
    CONSTRAINT never_credited_above_the_invoice CHECK (credited BETWEEN 0 AND total AND credited_tax BETWEEN 0 AND tax)
) PARTITION BY RANGE (order_id);

-- What a seller wants on their invoices; without it the seller's name stands there.
CREATE TABLE invoices.seller_profile (
    seller_id   uuid        PRIMARY KEY,
    legal_name  text        NOT NULL,
    line1       text        NOT NULL,
    line2       text,
    city        text        NOT NULL,
    region      text,
    postal_code text        NOT NULL,
    country     text        NOT NULL,
    vat_id      text,
    prefix      text,
    footer      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION invoices.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: a mistake is corrected by a credit note', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON invoices.invoice FOR EACH ROW EXECUTE FUNCTION invoices.refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON invoices.invoice FOR EACH STATEMENT EXECUTE FUNCTION invoices.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON invoices.number FOR EACH ROW EXECUTE FUNCTION invoices.refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON invoices.number FOR EACH STATEMENT EXECUTE FUNCTION invoices.refuse_change();
