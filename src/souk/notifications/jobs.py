"""What notifications does by the clock, and whenever there is something to tell."""

from souk.kit.jobs import every
from souk.kit.loops import whenever
from souk.notifications import forgetting, planning, prices
from souk.notifications.bells import new_notices


@whenever(new_notices, alone=True)
async def plan_messages() -> int:
    """Turn notices into messages."""
    return await planning.plan_all()


@whenever(new_notices, alone=True)
async def tell_of_prices() -> int:
    """Find prices that have dropped, and tell those who keep the products in mind."""
    return await prices.compare_prices() + await prices.tell_of_drops()


@every(3600.0)
async def forget_old_messages() -> int:
    """Drop whole months of messages and notices that lie too far back, and old prices."""
    return await forgetting.forget_old_messages() + await prices.forget_old_prices()
