"""What carts does by the clock."""

from souk.carts import abandoning, closing
from souk.kit.jobs import every
from souk.kit.queue import job
from souk.kit.schedules import scheduled


@scheduled("10 3 * * *")
@job(timeout_s=900.0, at_once=1)
async def forget_guest_carts() -> int:
    """Drop carts of guests that nobody has touched for long."""
    return await closing.forget_guest_carts()


@every(300.0)
async def tell_abandoned_carts() -> int:
    """Tell of carts that their users have left with something in them."""
    return await abandoning.tell_abandoned()
