"""What reviews does by the clock."""

from souk.kit.jobs import every
from souk.reviews import purchases


@every(3600.0)
async def forget_old_purchases() -> int:
    """Forget purchases that lie too far back to be reviewed."""
    return await purchases.forget_old_purchases()
