"""What shipping does by the clock."""

from souk.kit.jobs import every
from souk.shipping import buying, following


@every(2.0)
async def settle_labels() -> int:
    """Find out what became of labels whose carrier kept silent, and take back those of parcels that are not sent."""
    return await buying.settle_labels()


@every(2.0)
async def follow_parcels() -> int:
    """Ask carriers where parcels are."""
    return await following.follow_parcels()
