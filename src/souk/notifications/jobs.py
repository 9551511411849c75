"""What notifications does by the clock, and without an end."""

from souk.kit.jobs import every
from souk.kit.loops import whenever
from souk.notifications import bells, in_app, streaming


@whenever(bells.due_messages, alone=False)
async def fill_feeds() -> int:
    """Bring messages of the channel in_app into the feeds."""
    return await in_app.deliver_in_app()


@every(60.0)
async def forget_old_tickets() -> int:
    """Drop tickets of streams that nobody has used."""
    return await streaming.forget_old_tickets()
