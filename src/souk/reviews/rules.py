"""What the books of reviews keep at any moment, for the audit."""

from souk.kit.rules import Rule

FIND_WRONG_RATINGS = """
    SELECT product_id AS key,
           jsonb_build_object('counted', to_jsonb(k.stars), 'published', to_jsonb(coalesce(r.stars, '{0,0,0,0,0}'::bigint[]))) AS found
    FROM (SELECT product_id, ARRAY[stars1, stars2, stars3, stars4, stars5] AS stars FROM reviews.product_rating) AS k
    FULL JOIN (
        SELECT product_id, ARRAY[count(*) FILTER (WHERE rating = 1), count(*) FILTER (WHERE rating = 2), count(*) FILTER (WHERE rating = 3),
                                 count(*) FILTER (WHERE rating = 4), count(*) FILTER (WHERE rating = 5)] AS stars
        FROM reviews.review WHERE status = 'published' GROUP BY product_id
    ) AS r USING (product_id)
    WHERE coalesce(k.stars, '{0,0,0,0,0}'::bigint[]) <> coalesce(r.stars, '{0,0,0,0,0}'::bigint[])
"""
FIND_WRONG_VOTES = """
    SELECT r.id AS key, jsonb_build_object('counted', jsonb_build_array(r.helpful, r.unhelpful),
                                           'votes', jsonb_build_array(coalesce(v.helpful, 0), coalesce(v.unhelpful, 0))) AS found
    FROM reviews.review AS r
    LEFT JOIN (
        SELECT review_id, count(*) FILTER (WHERE helpful) AS helpful, count(*) FILTER (WHERE NOT helpful) AS unhelpful
        FROM reviews.vote GROUP BY review_id
    ) AS v ON v.review_id = r.id
    WHERE (r.helpful, r.unhelpful) <> (coalesce(v.helpful, 0), coalesce(v.unhelpful, 0))
"""
FIND_WRONG_REPORTS = """
    SELECT r.id AS key, jsonb_build_object('counted', r.reports, 'reports', coalesce(o.open, 0)) AS found
    FROM reviews.review AS r
    LEFT JOIN (SELECT review_id, count(*) AS open FROM reviews.report WHERE NOT decided GROUP BY review_id) AS o ON o.review_id = r.id
    WHERE r.reports <> coalesce(o.open, 0)
"""

RULES = (
    Rule("I17.ratings", "The stars that a product counts are those of its published reviews", FIND_WRONG_RATINGS),
    Rule("I17.votes", "A review counts the votes that there are of it", FIND_WRONG_VOTES),
    Rule("I17.reports", "A review counts the reports of it that no admin has looked at", FIND_WRONG_REPORTS),
)
