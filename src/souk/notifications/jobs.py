"""What notifications does by the clock, and without an end."""

from souk.kit.jobs import every, steadily
from souk.notifications import in_app, streaming


@steadily
async def fill_feeds() -> None:
    """Bring messages of the channel in_app into the feeds."""
    await in_app.deliver_forever()


@every(60.0)
async def forget_old_tickets() -> int:
    """Drop tickets of streams that nobody has used."""
    return await streaming.forget_old_tickets()
