"""What people were told, as far back as the shop wants to know."""

from souk.kit.partitions import drop_old_partitions
from souk.notifications.database import db
from souk.notifications.limits import limits


async def forget_old_messages() -> int:
    """Drop whole months of messages and notices that lie further back than that; how many."""
    async with db.pool.acquire() as connection:
        return sum([
            await drop_old_partitions(connection, f"notifications.{table}", limits.now.history_days) for table in ("message", "notice")
        ])
