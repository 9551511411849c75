"""What inventory does by the clock."""

from souk.inventory import reservations
from souk.kit.jobs import every


@every(1.0)
async def release_expired_stock() -> int:
    """Give back what was set aside for orders that were not paid in time."""
    return await reservations.release_expired()
