"""What the books of coupons keep at any moment, for the audit."""

from souk.kit.rules import Rule

# A coupon that was removed counts no more; its redemptions stay.
FIND_WRONG_COUNTERS = """
    SELECT coalesce(p.code, id::text) AS key,
           jsonb_build_object('uses', p.uses, 'redeemed', coalesce(r.uses, 0), 'spent', p.spent, 'discounts', coalesce(r.spent, 0)) AS found
    FROM pricing.promotion AS p
    LEFT JOIN (
        SELECT promotion_id AS id, count(*) AS uses, sum(discount) AS spent
        FROM pricing.redemption WHERE status = 'redeemed' GROUP BY promotion_id
    ) AS r USING (id)
    WHERE (p.uses, p.spent) IS DISTINCT FROM (coalesce(r.uses, 0), coalesce(r.spent, 0))
"""
FIND_WRONG_BUYERS = """
    SELECT promotion_id || ' of ' || buyer AS key, jsonb_build_object('uses', b.uses, 'redeemed', coalesce(r.uses, 0)) AS found
    FROM pricing.buyer_usage AS b
    FULL JOIN (
        SELECT promotion_id, buyer, count(*) AS uses FROM pricing.redemption WHERE status = 'redeemed' GROUP BY promotion_id, buyer
    ) AS r USING (promotion_id, buyer)
    WHERE b.uses IS DISTINCT FROM coalesce(r.uses, 0)
"""
FIND_OVERUSED = """
    SELECT coalesce(code, id::text) AS key,
           jsonb_build_object('uses', uses, 'limit', usage_limit, 'spent', spent, 'budget', budget) AS found
    FROM pricing.promotion WHERE uses < 0 OR uses > usage_limit OR spent < 0 OR spent > budget
    UNION ALL
    SELECT promotion_id || ' of ' || buyer, jsonb_build_object('uses', uses, 'limit', usage_limit)
    FROM pricing.buyer_usage WHERE uses < 0 OR uses > usage_limit
"""

RULES = (
    Rule("I11.uses", "A coupon counts the orders that use it and what it took off them", FIND_WRONG_COUNTERS),
    Rule("I11.buyers", "A coupon counts the orders of each buyer that use it", FIND_WRONG_BUYERS),
    Rule("I11.limits", "No coupon is used above its limits, by all or by one buyer", FIND_OVERUSED),
)
