"""The edge of the public listener: who asks, which request this is, what may be cached, how long it took."""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from prometheus_client import Counter
from uuid_utils import uuid7

from souk.kit.auth import Grant, Verifier
from souk.kit.callers import ANONYMOUS, Caller, caller, set_caller
from souk.kit.cardnumbers import refuse_card_numbers
from souk.kit.cors import Cors, Header
from souk.kit.errors import DomainError, InvalidField, Unauthenticated, Unavailable
from souk.kit.fastpath import FastRoutes
from souk.kit.overload import overload
from souk.kit.problems import encode_problem
from souk.kit.streams import Streams
from souk.kit.telemetry import REQUEST_SECONDS, REQUESTS, REQUESTS_SHED
from souk.kit.tracing import shape_of, tracing

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NOSNIFF = (b"x-content-type-options", b"nosniff")
# Answers are data: a browser that is made to show one as a page loads, runs and frames nothing. Pages bring a policy of their own.
NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
PRIVATE = (b"cache-control", b"private, no-store")

OVERLOADED = "The shop has more to do than it can at the moment; try again with the same Idempotency-Key."
SHED_HEADERS, SHED = encode_problem(503, "overloaded", OVERLOADED)
SHED_HEADERS += [(b"retry-after", b"1"), PRIVATE, NOSNIFF]

VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")


class Front:
    """Wraps the public app: sets the caller, answers bad tokens and preflights, adds request id, cache headers and ETags, counts."""

    def __init__(self, app: App, fast: FastRoutes, verifier: Verifier, cors: Cors) -> None:
        self.app = app
        self._fast = fast
        self._verifier = verifier
        self._cors = cors
        self._streams = Streams(verifier)

    def enter(self, method: str, path: str) -> bool:
        """Whether a request may come in. This is asked before anything is done for it, or sending it away would not help."""
        if overload.sheds(method, path):
            _count_shed(method)
            return False
        overload.under_way += 1
        return True

    def leave(self) -> None:
        """A request that came in has been answered."""
        overload.under_way -= 1

    def refuse(self, headers: list[Header]) -> tuple[int, list[Header], bytes]:
        """The answer to a request that may not come in: ready, and without an id of the request."""
        return 503, SHED_HEADERS + self._cors.describe(dict(headers)), SHED

    def close(self) -> None:
        """The server stops: streams end, and their clients go on elsewhere or later."""
        self._streams.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and tracing.is_on:
            given = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
            with tracing.begin(f"{scope['method']} {shape_of(scope['path'])}", given) as span:
                span.note("http.response.status_code", await self._answer(scope, receive, send))
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        began = time.perf_counter()
        method, headers = scope["method"], dict(scope["headers"])
        request_id = _read_request_id(headers)
        personal = b"authorization" in headers or b"souk-token" in headers
        added = [(b"x-request-id", request_id.encode()), *self._cors.describe(headers), NOSNIFF]
        reply = _Reply(send, method, headers.get(b"if-none-match"), added, personal=personal)
        if self._cors.is_preflight(method, headers):
            await reply.answer(204, self._cors.permit(), b"")
            return 204
        try:
            _inspect_address(scope)
            grant = self._find_grant(scope["path"], headers)
            set_caller(_make_caller(grant, headers, request_id))
        except DomainError as refusal:
            set_caller(Caller(request_id=request_id))
            await _refuse(reply, refusal.status, refusal.code, str(refusal))
        except Unavailable as silence:
            set_caller(Caller(request_id=request_id))
            await _refuse(reply, 503, "unavailable", f"Not available now: {silence}. Try again.")
        else:
            call, receive = await self._fast.take(scope, headers, receive)
            if call is None:
                scope["streams"], scope["grant"] = self._streams, grant
                await self.app(scope, receive, reply.send)
            else:
                answer = await call()
                await reply.answer(answer.status, answer.headers, answer.body)
        _count(method, reply.status)
        if "endless" not in scope:  # as long as its client listened
            REQUEST_SECONDS.observe(time.perf_counter() - began)
        return reply.status

    def _find_grant(self, path: str, headers: dict[bytes, bytes]) -> Grant | None:
        authorization = headers.get(b"authorization")
        if authorization is None:
            return None
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        try:
            return self._verifier.find_grant(token.strip() if scheme.lower() == "bearer" else "")
        except Unauthenticated:
            # A client that sends its stale token with everything has to be able to renew it; what needs a user refuses itself.
            # Who reads the metrics may have a token that is not of this kind.
            if path.startswith("/auth/") or path == "/metrics":
                return None
            raise


def _make_caller(grant: Grant | None, headers: dict[bytes, bytes], request_id: str) -> Caller:
    key = headers.get(b"idempotency-key", b"").decode("latin-1") or None
    if key is not None and not VISIBLE.fullmatch(key):
        raise InvalidField("Idempotency-Key", "is to be 1 to 255 visible ASCII characters")
    guest_token = headers.get(b"souk-token", b"").decode("latin-1").strip() or None
    if guest_token is not None and not VISIBLE.fullmatch(guest_token):
        raise InvalidField("Souk-Token", "is not one that we gave")
    who = ANONYMOUS if grant is None else grant.principal
    return Caller(who, request_id, key, guest_token, traceparent=caller().traceparent)


def _read_request_id(headers: dict[bytes, bytes]) -> str:
    if (header := headers.get(b"x-request-id")) is not None:
        given = header.decode("latin-1")
        if VISIBLE.fullmatch(given) and len(given) <= 64:
            return given
    return str(uuid7())


# Looking a counter up by its labels costs more than counting.
_answered: dict[tuple[str, int], Counter] = {}
_shed: dict[str, Counter] = {}


def _count(method: str, status: int) -> None:
    """One more answer."""
    counter = _answered.get((method, status))
    if counter is None:
        counter = _answered[method, status] = REQUESTS.labels(method, str(status))
    counter.inc()


def _count_shed(method: str) -> None:
    """One more request that was sent away."""
    counter = _shed.get(method)
    if counter is None:
        counter = _shed[method] = REQUESTS_SHED.labels(method)
    counter.inc()


class _Reply:
    """The answer on its way out: its head waits for the first part of its body, of which a public one has its ETag."""

    def __init__(self, send: Send, method: str, if_none_match: bytes | None, added: list[Header], *, personal: bool) -> None:
        self._personal = personal
        self._send = send
        self._method = method
        self._if_none_match = if_none_match
        self._added = added
        self._start: Message | None = None
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            start, self._start = self._start, None
            await self.answer(start["status"], list(start["headers"]), message.get("body", b""), whole=not message.get("more_body"))

    async def answer(self, status: int, headers: list[Header], body: bytes, *, whole: bool = True) -> None:
        """Send the head and the first part of the body, which may be all of it."""
        self.status = status
        kept = etag = policy = None
        for name, value in headers:
            if name == b"cache-control":
                kept = value
            elif name == b"etag":
                etag = value
            elif name == b"content-security-policy":
                policy = value
        shared = kept is not None and b"public" in kept and status < 400 and not self._personal
        if not shared:
            if kept is not None:
                headers = [pair for pair in headers if pair[0] != b"cache-control"]
            headers = [*headers, PRIVATE]
        headers = [*headers, *self._added]
        if policy is None:
            headers.append(NO_PAGE)
        if shared and whole and status == 200 and self._method == "GET" and etag is None:
            etag = b'W/"%s"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
            headers.append((b"etag", etag))
            if self._if_none_match is not None and etag in self._if_none_match:
                self.status = 304
                headers = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")]
                body = b""
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": not whole})


async def _refuse(reply: _Reply, status: int, code: str, detail: str) -> None:
    headers, body = encode_problem(status, code, detail)
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        headers.append((b"retry-after", str(Unavailable.retry_after_s).encode()))
    await reply.answer(status, headers, body)


def _inspect_address(scope: Scope) -> None:
    """No NUL in a path or query, for PostgreSQL has none in its texts; no card number in a query, for queries are logged and kept."""
    query = unquote_to_bytes(scope["query_string"]) if scope["query_string"] else b""
    if "\0" in scope["path"] or b"\0" in query:
        raise InvalidField("path" if "\0" in scope["path"] else "query", "a text may not contain a NUL character")
    if query:
        refuse_card_numbers(query.replace(b"+", b" "))
