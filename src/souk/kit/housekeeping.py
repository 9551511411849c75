"""What every context's schema needs now and then: partitions ahead of time, old facts and old idempotency keys gone."""

import asyncio
import logging

from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW, Database
from souk.kit.errors import Unavailable
from souk.kit.idempotency import forget_old_keys
from souk.kit.partitions import add_partitions, drop_old_partitions

log = logging.getLogger(__name__)

EVERY_S = 3600.0
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


async def keep_house_forever(database: Database) -> None:
    """Do it every hour; trouble is logged, and the next hour comes."""
    set_caller(Caller(principal=SYSTEM, request_id=f"housekeeping:{database.context}"))
    while True:
        try:
            await keep_house(database)
        except (Unavailable, *NOT_NOW) as silence:
            log.warning("housekeeping_interrupted", extra={"context": database.context, "reason": str(silence)})
        await asyncio.sleep(EVERY_S)
