"""A shop in which nothing is under way: what is compared then need not be compared twice."""

from souk import app
from souk.kit.events import CONSUMERS
from souk.orders.database import db

BEHIND = """
    SELECT EXISTS (SELECT FROM {consumer}.consumer_position AS p JOIN {source}.outbox AS o ON (o.xid, o.id) > (p.xid, p.id)
                   WHERE p.consumer = '{path}' AND p.source = '{source}' AND o.type = ANY('{{{types}}}'))
"""
# Somebody may be at an order that still waits: who gives it up when its time is over, before that is decided.
AT_WORK = """
    SELECT EXISTS (SELECT FROM orders.placement
                   WHERE step IN ('completing', 'undoing') OR (step = 'waiting' AND (lease_until > now() OR expires_at < now())))
"""

app.import_contexts()
UNREST = " UNION ALL ".join(
    [
        AT_WORK,
        *(
            BEHIND.format(consumer=one.context, source=source, path=one.path, types=",".join(one.decoders))
            for one in CONSUMERS.values()
            for source in (one.sources if one.kind != "memory" and one.context in app.CONTEXTS else ())
        ),
    ]
)


async def is_quiet() -> bool:
    """Whether every consumer has applied what it wants, and nobody is at work on an order."""
    return not any(tuple(row[0] for row in await db.pool.fetch(UNREST)))
