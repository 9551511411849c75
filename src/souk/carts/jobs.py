"""What carts does by the clock."""

from souk.carts import abandoning, closing
from souk.kit.jobs import every


@every(3600.0)
async def forget_guest_carts() -> int:
    """Drop carts of guests that nobody has touched for long."""
    return await closing.forget_guest_carts()


@every(300.0)
async def tell_abandoned_carts() -> int:
    """Tell of carts that their users have left with something in them."""
    return await abandoning.tell_abandoned()
