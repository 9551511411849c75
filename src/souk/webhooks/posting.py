"""One POST to an address that somebody else chose: on the public internet only, to what was checked, and never on from there."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from souk.webhooks.addresses import is_public, read_literal
from souk.webhooks.settings import Settings

# Of an answer nothing counts but its status; so much of it is kept for whoever wonders why.
ANSWER_BYTES = 1024
NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError, ValueError)

# The family and the text of each address of a name.
Addresses = list[tuple[socket.AddressFamily, str]]
Lookup = Callable[[str, int], Addresses]


class NotPublic(OSError):
    """The address lies in a network that is not the internet."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of an attempt: a status, or why there was none."""

    status: int | None
    error: str | None
    duration_ms: int
    answer: str = ""
    retry_after_s: float = 0.0

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class PublicResolver(AbstractResolver):
    """Finds the addresses of a name and gives them only if all are public. What it gives is what is connected to: nobody asks again."""

    def __init__(self, lookup: Lookup, threads: int, *, allow_private: bool) -> None:
        self._lookup = lookup
        self._allow_private = allow_private
        # Not those that all share: a name whose server is silent keeps a thread busy for half a minute.
        self._threads = ThreadPoolExecutor(threads, "webhook-names")

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        addresses = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
        if not self._allow_private and not all(is_public(address) for _, address in addresses):
            raise NotPublic("not a public address")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in addresses
        ]

    async def close(self) -> None:
        """Let go of what waits for a name."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def look_up(host: str, port: int) -> Addresses:
    """The addresses of a name, as this machine knows it."""
    return [(family, str(address[0])) for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def make_public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """The socket for a connection to this address. Whoever came to it in whatever way ends here if it is not public."""
    family, kind, protocol, _, where = address
    if not is_public(str(where[0])):
        raise NotPublic("not a public address")
    return socket.socket(family, kind, protocol)


class Post:
    """Posts, with one time-out for all of it; connections are kept for the next message to the same host."""

    def __init__(self, session: aiohttp.ClientSession, timeout_s: float, *, allow_private: bool) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._allow_private = allow_private

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Post it once; never raises for what the other side does."""
        began = time.monotonic()
        status, answer, error, pause_s = None, b"", None, 0.0
        try:
            async with asyncio.timeout(self._timeout_s):
                self._check_literal(url)
                async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                    status = response.status
                    pause_s = read_retry_after(response.headers.get("Retry-After", ""))
                    answer = await read_beginning(response)
        except NO_ANSWER as failure:
            # An answer that breaks off has said what counts.
            error = name_failure(failure) if status is None else None
        text = answer.decode(errors="replace").replace("\0", "")
        return Outcome(status, error, round((time.monotonic() - began) * 1000), text, pause_s)

    def _check_literal(self, url: str) -> None:
        """What is an address already never comes by the resolver."""
        literal = read_literal(URL(url).raw_host or "")
        if literal is not None and not self._allow_private and not is_public(literal):
            raise NotPublic("not a public address")


@asynccontextmanager
async def open_post(settings: Settings, lookup: Lookup = look_up, trust: ssl.SSLContext | bool = True) -> AsyncIterator[Post]:
    """Connections to the world outside: no proxy, no cookies, no cached names, nothing unpacked."""
    resolver = PublicResolver(lookup, settings.in_flight, allow_private=settings.allow_private)
    connector = aiohttp.TCPConnector(
        limit=settings.in_flight,
        ssl=trust,
        use_dns_cache=False,
        resolver=resolver,
        socket_factory=None if settings.allow_private else make_public_socket,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=settings.timeout_s, sock_connect=settings.connect_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "Souk-Webhooks/1"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        try:
            yield Post(session, settings.timeout_s, allow_private=settings.allow_private)
        finally:
            await resolver.close()


async def read_beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of an answer; the rest stays unread, and its connection is closed."""
    beginning = b""
    while len(beginning) < ANSWER_BYTES and (part := await response.content.read(ANSWER_BYTES - len(beginning))):
        beginning += part
    return beginning


def read_retry_after(text: str) -> float:
    """For how many seconds they want to be left alone (RFC 9110); 0 if they do not say."""
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


# The first that fits. Not what a resolver or a port said: that would tell of our network.
FAILURES: tuple[tuple[type[BaseException], str], ...] = (
    (NotPublic, "not_public"),
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorDNSError, "unknown_host"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorError, "not_connected"),
    (ValueError, "bad_address"),
)


def name_failure(failure: BaseException) -> str:
    """In one word why there was no answer."""
    if isinstance(failure, aiohttp.ClientConnectorError) and isinstance(failure.os_error, NotPublic):
        return "not_public"
    return next((name for kind, name in FAILURES if isinstance(failure, kind)), "broken_off")
