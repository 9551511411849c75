"""What webhooks does beside answering requests: it sends what waits, and forgets what is old."""

from souk.kit.background import in_every_process
from souk.kit.jobs import every
from souk.webhooks import forgetting, sending


@in_every_process
async def send_waiting() -> None:
    """Tell webhooks what waits for them."""
    await sending.send_forever()


@every(3600.0)
async def forget_old_deliveries() -> int:
    """Drop the months of deliveries that are older than the shop keeps them."""
    return await forgetting.forget_old_deliveries()
