"""The currencies of the shop."""

from souk.kit.calls import exposed
from souk.pricing.settings import settings


@exposed()
async def get_currencies() -> tuple[str, ...]:
    """The currencies in which this shop sells, its own first. Changes nothing, refuses nobody."""
    return settings.now.currencies
