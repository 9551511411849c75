"""What reviews does by the clock."""

from souk.kit.queue import job
from souk.kit.schedules import scheduled
from souk.reviews import purchases


@scheduled("30 3 * * *")
@job(timeout_s=900.0, at_once=1)
async def forget_old_purchases() -> int:
    """Forget purchases that lie too far back to be reviewed."""
    return await purchases.forget_old_purchases()
