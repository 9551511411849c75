"""HTTP to somebody outside: so many calls at a time, each with a time-out, and what a failure tells about what they did."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec

from souk.kit.tracing import tracing


class Silent(Exception):
    """They did not answer, or with an error of their own: nobody knows whether they did what they were asked."""


class Unreachable(Exception):
    """The question did not get there, or they said that they did nothing; and when to ask again, if they said so."""

    retry_after_s: float | None = None


class Answer(msgspec.Struct, frozen=True):
    """What they answered; an answer of 500 and more, or none, is an exception."""

    status: int
    body: bytes


class Patience(msgspec.Struct, frozen=True):
    """How long they may take to be reached and to answer, and how many calls to them are under way at once."""

    connect_s: float
    timeout_s: float
    in_flight: int


# No answer came. Of these, the ones that say that the question did not even leave tell that nothing was done.
NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError)
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def failed(what: str, failure: BaseException) -> Silent | Unreachable:
    """What a call without an answer tells about what was done."""
    kind = Unreachable if isinstance(failure, NOT_SENT) else Silent
    return kind(f"{what}: {type(failure).__name__}")


class Line:
    """Calls to one of them. Connections are shared by the calls that are under way, and closed when there are none."""

    def __init__(self, base_url: str, patience: Patience) -> None:
        self._base_url = base_url.rstrip("/")
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None
        self._calls = 0

    async def ask(self, method: Literal["GET", "POST"], path: str, headers: Mapping[str, str], body: object = None) -> Answer:
        """One call, with a body in JSON unless it is bytes; raises Silent or Unreachable."""
        sent = {"Content-Type": "application/json", **headers} if body is not None else dict(headers)
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        try:
            with tracing.span(f"{method} {urlsplit(self._base_url).hostname}", "client") as span:
                async with (
                    self.opened() as session,
                    session.request(method, self._base_url + path, data=data, headers=sent, allow_redirects=False) as response,
                ):
                    answer = Answer(response.status, await response.read())
                span.note("http.response.status_code", answer.status)
        except NO_ANSWER as failure:
            raise failed(path, failure) from failure
        if answer.status == 429:
            busy = Unreachable(f"{path}: it has too much to do")
            wait = response.headers.get("Retry-After", "")
            busy.retry_after_s = float(wait) if wait.isdecimal() else None
            raise busy
        if answer.status >= 500:
            raise Silent(f"{path}: it answered {answer.status}")
        return answer

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The connections, for one call."""
        if self._session is None:
            patience = aiohttp.ClientTimeout(total=self._patience.timeout_s, connect=self._patience.connect_s)
            connector = aiohttp.TCPConnector(limit=self._patience.in_flight)
            self._session = aiohttp.ClientSession(timeout=patience, connector=connector)
        self._calls += 1
        try:
            yield self._session
        finally:
            self._calls -= 1
            if not self._calls:
                session, self._session = self._session, None
                await session.close()
