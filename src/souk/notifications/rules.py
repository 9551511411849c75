"""What the books of notifications keep, for the audit."""

from souk.kit.rules import Rule

FIND_UNPLANNED = """
    SELECT id AS key, jsonb_build_object('kind', kind, 'since', created_at) AS found FROM notifications.notice WHERE status = 'new'
"""
FIND_UNTOLD = """
    SELECT n.id AS key, jsonb_build_object('kind', n.kind, 'occurred_at', n.occurred_at) AS found FROM notifications.notice AS n
    WHERE n.status = 'planned' AND NOT EXISTS (SELECT FROM notifications.message AS m WHERE m.notice_id = n.id)
"""
FIND_TOLD_UNPLANNED = """
    SELECT m.id AS key, jsonb_build_object('notice', n.id, 'notice_status', n.status) AS found
    FROM notifications.message AS m JOIN notifications.notice AS n ON n.id = m.notice_id WHERE n.status <> 'planned'
"""
FIND_REPEATED = """
    SELECT notice_id || ' ' || channel AS key, jsonb_build_object('whom', coalesce(user_id, order_id), 'messages', count(*)) AS found
    FROM notifications.message GROUP BY notice_id, channel, coalesce(user_id, order_id) HAVING count(*) > 1
"""
# By whatever notice: one fact told at two times has two of them. Who tries a campaign out may do so again.
FIND_SENT_TWICE = """
    SELECT n.fact_id || ' ' || m.channel AS key,
           jsonb_build_object('kind', n.kind, 'whom', coalesce(m.user_id, m.order_id), 'sent', count(*)) AS found
    FROM notifications.message AS m JOIN notifications.notice AS n ON n.id = m.notice_id
    WHERE m.status = 'sent' AND n.kind <> 'campaign'
    GROUP BY n.fact_id, n.kind, n.recipient_kind, n.recipient_id, m.channel, coalesce(m.user_id, m.order_id) HAVING count(*) > 1
"""
FIND_OVERDUE = """
    SELECT id AS key, jsonb_build_object('channel', channel, 'status', status, 'give_up_at', give_up_at) AS found
    FROM notifications.message WHERE status IN ('waiting', 'sending') AND give_up_at < now()
"""
FIND_STRAY = """
    SELECT m.id AS key, jsonb_build_object('letter', m.letter_id, 'of', to_jsonb(l.user_id), 'on', l.channel) AS found
    FROM notifications.message AS m LEFT JOIN notifications.message AS l ON l.id = m.letter_id AND l.letter_id = l.id
    WHERE m.id <> m.letter_id
      AND (l.id IS NULL OR (m.user_id, m.channel, m.topic, m.window_ends_at)
                           IS DISTINCT FROM (l.user_id, l.channel, l.topic, l.window_ends_at))
"""
FIND_LEFT_BEHIND = """
    SELECT m.id AS key, jsonb_build_object('letter', m.letter_id, 'letter_status', l.status) AS found
    FROM notifications.message AS m JOIN notifications.message AS l ON l.id = m.letter_id
    WHERE m.id <> m.letter_id AND m.status IN ('waiting', 'sending') AND l.status IN ('sent', 'failed')
"""
# The clocks of processes and of the database are not quite the same.
FIND_UNASKED = """
    SELECT id AS key, jsonb_build_object('topic', topic, 'decided_at', decided_at, 'sent_at', sent_at) AS found
    FROM notifications.message WHERE status = 'sent' AND (decided_at IS NULL OR decided_at > sent_at + interval '1 minute')
"""
FIND_WITHHELD = """
    SELECT id AS key, jsonb_build_object('topic', topic, 'reason', reason) AS found
    FROM notifications.message WHERE mandatory AND status = 'suppressed' AND reason IN ('opted_out', 'too_many', 'address_unverified')
"""
FIND_UNTOLD_SELLERS = """
    SELECT n.id AS key, jsonb_build_object('fact', n.fact_id, 'told', n.kind) AS found
    FROM notifications.notice AS n
    WHERE n.kind IN ('order_placed', 'seller_order_placed') AND NOT EXISTS (
        SELECT FROM notifications.notice AS o
        WHERE o.fact_id = n.fact_id AND o.kind = CASE n.kind WHEN 'order_placed' THEN 'seller_order_placed' ELSE 'order_placed' END)
"""
FIND_UNFINISHED = """
    SELECT c.id AS key, jsonb_build_object('open', count(*)) AS found
    FROM notifications.campaign AS c JOIN notifications.message AS m ON m.notice_id = c.id
        AND m.kind = c.kind AND m.kind IN ('campaign', 'recommendations')
    WHERE c.status = 'sent' AND m.status IN ('waiting', 'sending') GROUP BY c.id
"""
# As long as none of its messages is old enough to be gone.
FIND_MISCOUNTED = """
    SELECT c.id AS key, jsonb_build_object('recipients', c.recipients, 'told', count(DISTINCT m.user_id)) AS found
    FROM notifications.campaign AS c LEFT JOIN notifications.message AS m ON m.notice_id = c.id
        AND m.kind = c.kind AND m.kind IN ('campaign', 'recommendations')
    WHERE c.begun_at > now() - interval '30 days' GROUP BY c.id HAVING count(DISTINCT m.user_id) <> c.recipients
"""

RULES = (
    Rule("I12.planned", "Every notice is planned or dropped", FIND_UNPLANNED, settled=True),
    Rule("I12.told", "A notice that is planned has its messages", FIND_UNTOLD),
    Rule("I12.undropped", "A notice that is not planned has no message", FIND_TOLD_UNPLANNED),
    Rule("I12.once", "Nobody has a notice twice on a channel", FIND_REPEATED),
    Rule("I12.twice", "Nobody was sent a fact twice on a channel", FIND_SENT_TWICE),
    Rule("I12.ended", "A message that is not worth sending any more has ended", FIND_OVERDUE, settled=True),
    Rule("I12.letters", "A message leaves alone, or in a letter of its person, channel, topic and window", FIND_STRAY),
    Rule("I12.together", "Nothing that belongs to a letter that has left is left behind", FIND_LEFT_BEHIND, settled=True),
    Rule("I12.asked", "Before a message was sent it was looked at whether it is wanted", FIND_UNASKED),
    Rule("I12.mandatory", "What is mandatory is withheld from nobody who can be reached", FIND_WITHHELD),
    Rule("I12.sellers", "Of every order that its buyer is told of its sellers are told, and of no other", FIND_UNTOLD_SELLERS),
    Rule("I12.campaigns", "Of a campaign that is sent no message is on its way", FIND_UNFINISHED),
    Rule("I12.recipients", "As many people as a campaign counts have a message of it", FIND_MISCOUNTED),
)
