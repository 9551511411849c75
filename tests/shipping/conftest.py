"""Fixtures for shipping: the sandbox's carrier as a process that tells the shop of parcels, and a shop that listens."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from tests.fronts import make_front
from tests.ports import find_free_port
from tests.sandbox.conftest import API_KEY, SECRET, Sandbox

from souk.app import Shop
from souk.kit import server
from souk.kit.auth import Verifier
from souk.shipping.settings import Settings, settings

# Our time-outs are shorter than its silence.
PATIENCE = {"carrier_timeout_s": 0.4, "carrier_connect_s": 0.3}


class Depot:
    """The carrier, asked by somebody who is not the shop."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with self.session.request(method, self.sandbox.url + path, json=body, headers=headers) as response:
            assert response.status < 400, await response.text()
            return await response.json()

    async def control(self, path: str = "", **moods: object) -> None:
        await self.ask("POST", f"/control/{path}", moods or None)

    async def scan(self, tracking_number: str, status: str, habit: str | None = None, **more: object) -> None:
        if habit:
            await self.control(next=habit, on="scan")
        await self.control("scans", tracking_number=tracking_number, status=status, **more)

    async def labels_of(self, shipment_id: UUID) -> list[Any]:
        return list((await self.ask("GET", f"/v1/labels?reference={shipment_id}"))["items"])


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[str]:
    """The shop's REST API at this port."""
    listener = server.Listener(make_front(Verifier()), "127.0.0.1", port)
    await listener.open()
    yield f"http://127.0.0.1:{port}"
    await listener.close()


@pytest.fixture(autouse=True)
def settings_of_a_test() -> Iterator[None]:
    """Whatever a test sets is forgotten after it."""
    settings._read = Settings()
    yield
    settings._read = Settings()


@pytest.fixture(scope="session")
def door_port() -> int:
    return find_free_port()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, door_port: int) -> Iterator[Sandbox]:
    """One sandbox for all tests."""
    doors = dict.fromkeys(("webhook_url", "carrier_webhook_url"), f"http://127.0.0.1:{door_port}/shippings/webhooks/sandbox")
    # A carrier tells of a label when the shop knows that it has one: what came before is nobody's, and not told again.
    sandbox = Sandbox(home=str(tmp_path_factory.mktemp("sandbox")), timeout_s=0.8, webhook_delay_s=0.3, **doors).start()
    yield sandbox
    sandbox.end()


@pytest.fixture
async def depot(shop: Shop, sandbox: Sandbox, settings_of_a_test: None) -> AsyncIterator[Depot]:
    """The carrier, of whom this shop buys labels; it does not listen to it."""
    settings.replace(sandbox_url=sandbox.url, sandbox_api_key=API_KEY, sandbox_webhook_secrets=(SECRET,), **PATIENCE)
    async with aiohttp.ClientSession() as session:
        depot = Depot(sandbox, session)
        await depot.control("reset")
        yield depot
        await depot.control("reset")


@pytest.fixture
async def door(shop: Shop, depot: Depot, door_port: int) -> AsyncIterator[str]:
    """The shop listens to what the carrier tells."""
    async with listening(door_port) as url:
        yield url
