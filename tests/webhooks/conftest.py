"""A shop that tells endpoints on the loopback, quicker than another would."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.webhooks.outside import Outside, listening

from souk import app
from souk.app import Shop
from souk.webhooks.settings import Settings, place, settings


@pytest.fixture(autouse=True)
def usual_settings(whole_shop: Shop) -> Iterator[None]:
    """Each test begins with the settings of a shop, and its own place for secrets."""
    before, home = settings.now, place.now.home
    settings.replace(**{name: getattr(Settings(), name) for name in Settings.__struct_fields__})
    place.replace(home=whole_shop.settings.home)
    yield
    settings.replace(**{name: getattr(before, name) for name in Settings.__struct_fields__})
    place.replace(home=home)


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    async with listening() as server:
        yield server


@pytest.fixture
def impatient(usual_settings: None) -> None:
    settings.replace(allow_private=True, retries_s=(0.05, 0.05, 0.05), timeout_s=5.0)


@pytest.fixture
async def sending_shop(whole_shop: Shop, impatient: None) -> AsyncIterator[Shop]:
    """A whole shop at work, which sends to the loopback."""
    async with app.at_work(whole_shop):
        yield whole_shop
