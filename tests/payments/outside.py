"""The world outside as a test sees it: the sandbox's own word on what happened, and the strings that can be pulled."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import aiohttp
from tests.sandbox.conftest import Sandbox


class Outside:
    """The sandbox, asked by somebody who is not the shop."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self.sandbox.settings['api_key']}"}
        async with self.session.request(method, self.sandbox.url + path, json=body, headers=headers) as response:
            assert response.status < 400, await response.text()
            return await response.json()

    async def control(self, path: str = "", **moods: object) -> None:
        await self.ask("POST", f"/control/{path}", moods or None)

    async def find_end_of_book(self) -> str:
        position, more = 0, True
        while more:
            page = await self.ask("GET", f"/v1/book?after={position}&limit=1000")
            position = page["items"][-1]["seq"] if page["items"] else position
            more = page["next"] is not None
        return str(position)

    async def read_book(self) -> list[dict[str, Any]]:
        """Every movement of money, oldest first."""
        entries: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = await self.ask("GET", f"/v1/book?after={after}&limit=1000")
            entries += page["items"]
            after = page["next"]
        return entries

    async def book_of(self, payment_id: UUID) -> list[tuple[str, int]]:
        """What really happened to a payment's money: kinds and amounts."""
        entries = [entry for entry in await self.read_book() if entry["payment_reference"].startswith(str(payment_id))]
        return [(entry["kind"], entry["amount"]) for entry in entries if entry["kind"] in ("capture", "refund")]

    async def sales_of(self, payment_id: UUID, attempt_id: UUID, kind: str = "charges") -> list[Any]:
        """The charges or checkouts of an attempt."""
        found = await self.ask("GET", f"/v1/{kind}?reference={payment_id}.{attempt_id}")
        return list(found["items"])

    async def visit(self, url: str, verb: str) -> int:
        """The buyer opens the page and says yes or no; where they are sent."""
        async with self.session.post(f"{url}/{verb}", allow_redirects=False) as response:
            return response.status


async def until(true: Callable[[], Awaitable[bool]], longest_s: float = 10.0) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(longest_s):
        while not await true():  # noqa: ASYNC110  it happens in another process
            await asyncio.sleep(0.02)
