"""`souk up --split --broker`: all that the services tell each other goes over a broker that is named once."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.deploy import family
from tests.deploy.test_split import SplitShop, buy
from tests.engines.brokers import Broker
from tests.journeys.client import Client
from tests.journeys.conftest import make_databases
from tests.waiting import until

from souk import app
from souk.kit.postgres import EmbeddedPostgres

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def brokered(postgres: EmbeddedPostgres, tmp_path: Path, own_broker: Callable[[], Broker]) -> Iterator[tuple[SplitShop, Broker]]:
    broker = own_broker()
    broker.start()
    (dsn,) = make_databases(postgres, f"brokered_{broker.port}")
    shop = SplitShop(tmp_path, dsn, "--broker", broker.url)
    shop.start()
    asyncio.run(shop.until_up())
    yield shop, broker
    if shop.parent.runs:
        shop.parent.send(signal.SIGTERM)
        shop.parent.wait(30)


async def test_every_service_is_told_of_the_broker_and_is_connected_to_it(brokered: tuple[SplitShop, Broker]) -> None:
    shop, broker = brokered
    for context in app.CONTEXTS:
        for pid in shop.serving(context):
            assert family.environment_of(pid)["SOUK_BROKER_URL"] == broker.url
            await until(family.soon(lambda pid=pid: family.is_connected(pid, broker.port)), within_s=60)
    # A command line is seen by everybody; the address has a password in it.
    assert not [command for command in family.commands_of(shop.parent.pid).values() if broker.url in command]
    assert broker.url not in family.command_of(shop.parent.pid)
    async with aiohttp.ClientSession() as session:
        buyer = await Client(session, shop.url).register()
        assert (await buy(buyer)).ok["status"] == "placed"
        assert (await buyer.until(f"/users/{buyer.id}/activity", lambda answer: bool(answer.ok["items"]))).ok["items"]
