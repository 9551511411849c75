"""What the books of webhooks keep at any moment, for the audit. What is left of a webhook that was removed is nobody's."""

from souk.kit.rules import Rule

# A webhook that is being sent to just now may have had its lease renewed; one that sleeps although something waits sleeps for good.
FIND_SLEEPERS = """
    SELECT w.id AS key, jsonb_build_object('waiting', count(*), 'last_place', w.last_place, 'highest', max(d.place)) AS found
    FROM webhooks.webhook AS w JOIN webhooks.delivery AS d ON d.webhook_id = w.id AND d.status = 'waiting'
    WHERE w.due_at IS NULL OR d.place > w.last_place
    GROUP BY w.id
"""
FIND_OVERTAKEN = """
    SELECT w.id || ' ' || d.event_id AS key, jsonb_build_object('place', d.place, 'waits_since', min(o.place)) AS found
    FROM webhooks.webhook AS w
    JOIN webhooks.delivery AS o ON o.webhook_id = w.id AND o.status = 'waiting'
    JOIN webhooks.delivery AS d ON d.webhook_id = w.id AND d.status <> 'waiting' AND d.place > o.place
    GROUP BY w.id, d.event_id, d.place
"""
FIND_WRONG_PLACES = """
    SELECT d.webhook_id || ' ' || d.place AS key, jsonb_build_object('deliveries', count(*)) AS found
    FROM webhooks.delivery AS d JOIN webhooks.webhook AS w ON w.id = d.webhook_id
    GROUP BY d.webhook_id, d.place HAVING count(*) > 1
"""
FIND_WRONG_ATTEMPTS = """
    SELECT d.webhook_id || ' ' || d.event_id AS key,
           jsonb_build_object('status', d.status, 'counted', d.attempts, 'attempts', a.count, 'last_status', a.last) AS found
    FROM webhooks.delivery AS d
    JOIN webhooks.webhook AS w ON w.id = d.webhook_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS count, max(number) AS highest, (array_agg(status ORDER BY number DESC))[1] AS last
        FROM webhooks.attempt WHERE event_id = d.event_id AND webhook_id = d.webhook_id
    ) AS a
    WHERE a.count <> d.attempts OR coalesce(a.highest, 0) <> d.attempts
       OR (d.status = 'delivered') IS DISTINCT FROM coalesce(d.status <> 'waiting' AND a.last BETWEEN 200 AND 299, false)
"""
FIND_UNSIGNED = """
    SELECT w.id AS key, jsonb_build_object('secrets', count(s.id)) AS found
    FROM webhooks.webhook AS w LEFT JOIN webhooks.secret AS s ON s.webhook_id = w.id AND s.expires_at IS NULL
    GROUP BY w.id HAVING count(s.id) <> 1
"""
FIND_OVERDUE = """
    SELECT id AS key, jsonb_build_object('due_at', due_at, 'lease_until', lease_until) AS found
    FROM webhooks.webhook
    WHERE status = 'active' AND due_at < now() - interval '10 minutes' AND lease_until < now() - interval '10 minutes'
"""

RULES = (
    Rule("I18.queue", "A webhook for which something waits has a time at which it is sent", FIND_SLEEPERS),
    Rule("I18.order", "Nothing is settled of a webhook while something before it waits", FIND_OVERTAKEN),
    Rule("I18.places", "Each delivery of a webhook has a place of its own", FIND_WRONG_PLACES),
    Rule("I18.attempts", "A delivery counts its attempts, and is delivered if the last of them was answered with 2xx", FIND_WRONG_ATTEMPTS),
    Rule("I18.secrets", "A webhook has one newest secret", FIND_UNSIGNED),
    Rule("I18.overdue", "What is due is sent", FIND_OVERDUE, settled=True),
)
