"""Somebody who uses the shop over HTTP: a visitor, a guest with a token, somebody signed in."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
from tests.waiting import until

PASSWORD = "correct horse battery staple"


class Answer:
    """What the shop answered."""

    def __init__(self, asked: str, status: int, headers: dict[str, str], content: bytes) -> None:
        self.asked = asked
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def body(self) -> Any:
        return msgspec.json.decode(self.content)

    @property
    def ok(self) -> Any:
        """The body of an answer that is none of refusal or failure."""
        assert self.status < 400, f"{self.asked}: {self}"
        return self.body if self.content else None

    @property
    def code(self) -> str:
        """The code of a refusal."""
        assert self.status >= 400, f"{self.asked}: {self}"
        return str(self.body["code"])

    def __repr__(self) -> str:
        return f"{self.status} {self.content[:2000].decode(errors='replace')}"


class Client:
    """Asks the shop, with an access token or the token of a guest, or without any."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url
        self.headers: dict[str, str] = {}
        self.user: dict[str, Any] = {}
        self.refresh_token = ""

    async def ask(self, method: str, path: str, body: object = None, **headers: str | None) -> Answer:
        """One request; a header of Idempotency_Key="…" is sent as Idempotency-Key, one of None is left out."""
        given = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in given.items() if value is not None}
        content = None
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.session.request(method, self.url + path, data=content, headers=sent, allow_redirects=False) as answer:
            received = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(f"{method} {path}", answer.status, received, await answer.read())

    async def get(self, path: str, **headers: str | None) -> Answer:
        return await self.ask("GET", path, None, **headers)

    async def post(self, path: str, body: object = None, **headers: str | None) -> Answer:
        return await self.ask("POST", path, body, **headers)

    async def put(self, path: str, body: object, **headers: str | None) -> Answer:
        return await self.ask("PUT", path, body, **headers)

    async def patch(self, path: str, body: object, **headers: str | None) -> Answer:
        return await self.ask("PATCH", path, body, **headers)

    async def delete(self, path: str, **headers: str | None) -> Answer:
        return await self.ask("DELETE", path, None, **headers)

    @property
    def id(self) -> UUID:
        return UUID(self.user["id"])

    async def register(self, **fields: object) -> "Client":
        """Make an account of one's own and be signed in to it."""
        email = f"{secrets.token_hex(8)}@buyers.example"
        made = (await self.post("/auth/register", {"email": email, "password": PASSWORD, **fields})).ok
        self._take(made)
        self.user = {name: value for name, value in made.items() if "token" not in name}
        return self

    async def log_in(self, email: str = "", password: str = PASSWORD) -> "Client":
        self._take((await self.post("/auth/login", {"email": email or self.user["email"], "password": password}, Authorization=None)).ok)
        self.user = (await self.get("/auth/me")).ok
        return self

    async def refresh(self) -> "Client":
        self._take((await self.post("/auth/refresh", {"refresh_token": self.refresh_token}, Authorization=None)).ok)
        return self

    def _take(self, tokens: dict[str, Any]) -> None:
        self.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        self.refresh_token = tokens["refresh_token"]

    async def until(self, path: str, holds: Callable[[Answer], bool], within_s: float = 20.0) -> Answer:
        """The answer at `path` as soon as it is as it should be; what is told by events comes a moment later."""
        last: list[Answer] = []

        async def look() -> bool:
            last[:] = [await self.get(path)]
            return holds(last[0])

        try:
            await until(look, within_s)
        except TimeoutError:
            raise AssertionError(f"GET {path} is still {last[0]}") from None
        return last[0]


async def together(*asked: Awaitable[Answer]) -> list[Answer]:
    """All of it at the same moment."""
    return list(await asyncio.gather(*asked))
