-- What sellers gave for labels: carriers send their bills to the shop.
ALTER TABLE payments.account
    DROP CONSTRAINT account_kind_check,
    ADD CONSTRAINT account_kind_check CHECK (kind IN ('gateway_clearing', 'buyer_wallet', 'wallet_held', 'order_funds', 'refunds_due',
        'seller_balance', 'platform_revenue', 'tax_payable', 'promotion_expense', 'payouts_due', 'bank', 'chargeback_expense', 'carriers_due'));
