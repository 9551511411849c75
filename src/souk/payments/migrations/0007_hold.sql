-- Money of a wallet that is set aside has an account of its own, so that what can be spent is still a balance that the database guards.
ALTER TABLE payments.account
    DROP CONSTRAINT account_kind_check,
    ADD CONSTRAINT account_kind_check CHECK (kind IN ('gateway_clearing', 'buyer_wallet', 'wallet_held', 'order_funds', 'refunds_due',
                       'seller_balance', 'platform_revenue', 'tax_payable', 'promotion_expense', 'payouts_due', 'bank')),
    ADD CONSTRAINT held_never_below_zero CHECK (kind <> 'wallet_held' OR balance >= 0);

-- An amount of a user's wallet, set aside for another user, or for the shop, until a time. It is resolved once: posted, in full or in
-- part, voided, or expired; what is not posted goes back. Partitioned by its id, whose beginning is its time.
CREATE TABLE payments.hold (
    id            uuid        NOT NULL PRIMARY KEY,
    user_id       uuid        NOT NULL,                 -- whose wallet
    to_user_id    uuid,                                 -- for whom; null: for the shop
    currency      text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount        bigint      NOT NULL CHECK (amount > 0),
    expires_at    timestamptz NOT NULL,
    status        text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'posted', 'voided', 'expired')),
    posted        bigint      NOT NULL DEFAULT 0,
    to_seller_id  uuid,                                 -- whom the shop gave what was held for it; null: itself
    resolution_id uuid,                                 -- made by who resolved it, so that the same resolution may be asked for again
    resolved_by   uuid,                                 -- null: time, or the shop itself
    resolved_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT held_for_another CHECK (to_user_id <> user_id),
    CONSTRAINT never_posted_above_held CHECK (CASE WHEN status = 'posted' THEN posted BETWEEN 1 AND amount ELSE posted = 0 END),
    CONSTRAINT resolved_has_a_time CHECK ((status = 'open') = (resolved_at IS NULL)),
    CONSTRAINT resolved_in_time CHECK ((status = 'expired') = coalesce(resolved_at >= expires_at, false)),
    CONSTRAINT resolved_by_somebody CHECK ((status IN ('posted', 'voided')) = (resolution_id IS NOT NULL)),
    CONSTRAINT the_shops_to_give CHECK (to_seller_id IS NULL OR (status = 'posted' AND to_user_id IS NULL))
) PARTITION BY RANGE (id);
CREATE INDEX hold_user ON payments.hold (user_id, id);
CREATE INDEX hold_recipient ON payments.hold (to_user_id, id) WHERE to_user_id IS NOT NULL;
CREATE INDEX hold_shop ON payments.hold (id) WHERE to_user_id IS NULL;
CREATE INDEX hold_due ON payments.hold (expires_at) WHERE status = 'open';

CREATE FUNCTION payments.refuse_second_resolution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a hold is resolved once and never deleted' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER resolved_once BEFORE UPDATE ON payments.hold FOR EACH ROW WHEN (OLD.status <> 'open')
    EXECUTE FUNCTION payments.refuse_second_resolution();
CREATE TRIGGER never_deleted BEFORE DELETE ON payments.hold FOR EACH ROW EXECUTE FUNCTION payments.refuse_second_resolution();
