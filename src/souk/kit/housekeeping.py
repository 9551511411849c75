"""What every context's schema needs now and then: partitions ahead of time, old facts and old idempotency keys gone."""

import logging

from souk.kit.db import Database
from souk.kit.idempotency import forget_old_keys
from souk.kit.partitions import add_partitions, drop_old_partitions
from souk.kit.queue import Job, Terms
from souk.kit.schedules import scheduled

log = logging.getLogger(__name__)

FACTS_KEPT_DAYS = 30

# The newest fact stays however old it is: after a restore on another server, new ones are to come after it.
FIND_NEWEST = "SELECT tableoid::regclass::text FROM {schema}.outbox ORDER BY xid DESC, id DESC LIMIT 1"


async def keep_house(database: Database) -> None:
    """Do it once."""
    async with database.pool.acquire() as connection:
        added = await add_partitions(connection, database.context)
        newest = await connection.fetchval(FIND_NEWEST.format(schema=database.context))
        dropped = await drop_old_partitions(connection, f"{database.context}.outbox", FACTS_KEPT_DAYS, keep=newest)
    forgotten = await forget_old_keys(database)
    if added or dropped or forgotten:
        counts = {"partitions_added": added, "outbox_partitions_dropped": dropped, "idempotency_keys_forgotten": forgotten}
        log.info("house_kept", extra={"context": database.context, **counts})


def schedule_housekeeping(database: Database) -> None:
    """Do it every hour for this context's schema, and at once if the hour has passed while nobody was there."""

    async def keep_house_once() -> None:
        await keep_house(database)

    keep_house_once.__name__ = "keep_house"
    scheduled("17 * * * *")(Job(keep_house_once, Terms(tries=5, back_off_s=10.0, timeout_s=600.0, priority=0, at_once=1), database.context))
