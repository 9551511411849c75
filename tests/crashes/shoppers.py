"""Buyers who order without pause, and insist: a request without an answer is sent again, with the same key."""

import asyncio
import time
from typing import Any

import aiohttp
from tests.journeys.client import Answer, Client
from tests.journeys.market import ADDRESS, CARD

from souk.kit.ids import new_id

INSIST_S = 60.0
NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError)


async def insist(client: Client, path: str, body: dict[str, Any], key: str | None = None) -> Answer:
    """The answer to a request that is sent until there is one."""
    key = key or str(new_id())
    end = time.monotonic() + INSIST_S
    while True:
        try:
            answer = await asyncio.wait_for(client.post(path, body, Idempotency_Key=key), 20)
            if answer.status < 500:
                return answer
            last: object = answer
        except NO_ANSWER as silence:
            last = silence
        assert time.monotonic() < end, f"POST {path} has no answer after {INSIST_S} s: {last!r}"
        await asyncio.sleep(0.05)


class Shoppers:
    """Many of them at once; what each was told is remembered."""

    def __init__(self, clients: list[Client], sku: str) -> None:
        self.clients = clients
        self.sku = sku
        self.placed: dict[str, float] = {}  # when an order was acknowledged as placed
        self.waiting: set[str] = set()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Order until stopped."""
        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(self._order_on(client))

    def stop(self) -> None:
        self._stopped.set()

    async def _order_on(self, client: Client) -> None:
        while not self._stopped.is_set():
            cart = (await insist(client, "/carts", {"items": [{"sku": self.sku, "quantity": 1}]})).ok
            placed = (await insist(client, "/orders", {"cart_id": cart["id"], "shipping_address": ADDRESS, "payment": CARD})).ok
            if placed["status"] == "placed":
                self.placed[placed["id"]] = time.monotonic()
            else:
                self.waiting.add(placed["id"])

    async def served_after(self, moment: float, within_s: float = 60.0) -> float:
        """When the first order was placed after this moment."""
        end = time.monotonic() + within_s
        while not (served := [at for at in self.placed.values() if at > moment]):
            assert time.monotonic() < end, f"nobody was served for {within_s} s"
            await asyncio.sleep(0.02)
        return min(served)
