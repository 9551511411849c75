"""What people were told, as far back as the shop wants to know."""

from souk.kit.partitions import drop_old_partitions
from souk.notifications.database import db
from souk.notifications.limits import limits


async def forget_old_messages() -> int:
    """Drop whole months of messages and notices, and of feeds, that lie further back than each is kept; how many."""
    kept_days = {"message": limits.now.history_days, "notice": limits.now.history_days, "feed_item": limits.now.feed_days}
    async with db.pool.acquire() as connection:
        return sum([await drop_old_partitions(connection, f"notifications.{table}", days) for table, days in kept_days.items()])
