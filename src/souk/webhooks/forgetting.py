"""Old deliveries go by the month."""

from souk.kit.partitions import drop_old_partitions
from souk.webhooks.database import db
from souk.webhooks.settings import settings

TABLES = ("webhooks.attempt", "webhooks.delivery")


async def forget_old_deliveries() -> int:
    """Drop every month that ended longer ago than the shop keeps deliveries; how many tables went.

    What waits longer than that, at a webhook that is paused or disabled, goes with its month.
    """
    async with db.pool.acquire() as connection:
        return sum([await drop_old_partitions(connection, table, settings.now.kept_days) for table in TABLES])
