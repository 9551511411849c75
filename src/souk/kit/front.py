"""The edge of the public listener: who asks, which request this is, what may be cached, how long it took."""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from souk.kit.auth import Verifier
from souk.kit.callers import ANONYMOUS, Caller, Principal, set_caller
from souk.kit.cors import Cors, Header
from souk.kit.errors import DomainError, Invalid, InvalidField, Unauthenticated, Unavailable
from souk.kit.ids import new_id
from souk.kit.problems import PROBLEM_JSON, make_problem
from souk.kit.telemetry import REQUEST_SECONDS, REQUESTS

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Answers are data: a browser that is made to show one as a page loads, runs and frames nothing. Pages bring a policy of their own.
NO_PAGE = b"default-src 'none'; frame-ancestors 'none'"

VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")

# Runs of digits as long as a card number (ISO/IEC 7812), grouped or not, that do not belong to a longer word.
CARD_LIKE = re.compile(rb"(?<![0-9A-Za-z.+-])(?:\d[ -]?){13,18}\d(?![0-9A-Za-z.-])")
# First digits and lengths of Visa, Mastercard, American Express, Discover, UnionPay, JCB and Diners Club.
CARD_BRANDS = re.compile(
    rb"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]\d{12}|2[3-9]\d{13}|[3-6]\d{14}|7[01]\d{13}|720\d{12})|3[47]\d{13}"
    rb"|6(?:011\d{12}|4[4-9]\d{13}|5\d{14}|2\d{14,17})|35\d{14}|3(?:0[0-5]|[689]\d)\d{11}(?:\d\d)?"
)


class CardNumber(Invalid, code="card_number_refused"):
    """A card number does not belong here; send the token that the payment provider gave you."""


class Front:
    """Wraps the public app: sets the caller, answers bad tokens and preflights, adds request id, cache headers and ETags, counts."""

    def __init__(self, app: App, verifier: Verifier, cors: Cors) -> None:
        self.app = app
        self._verifier = verifier
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = _read_request_id(headers)
        set_caller(Caller(request_id=request_id))
        personal = b"authorization" in headers or b"souk-token" in headers
        added = [(b"x-request-id", request_id.encode()), *self._cors.describe(headers)]
        reply = _Reply(send, scope["method"], headers.get(b"if-none-match"), added, personal=personal)
        if self._cors.is_preflight(scope["method"], headers):
            await _answer(reply, 204, self._cors.permit())
            return
        try:
            _inspect_address(scope)
            set_caller(self._find_caller(scope["path"], headers, request_id))
        except DomainError as refusal:
            await _refuse(reply, refusal.status, refusal.code, str(refusal))
        except Unavailable as silence:
            await _refuse(reply, 503, "unavailable", f"Not available now: {silence}. Try again.")
        else:
            await self.app(scope, receive, reply.send)
        REQUESTS.labels(scope["method"], str(reply.status)).inc()
        REQUEST_SECONDS.observe(time.perf_counter() - began)

    def _find_caller(self, path: str, headers: dict[bytes, bytes], request_id: str) -> Caller:
        key = headers.get(b"idempotency-key", b"").decode("latin-1") or None
        if key is not None and not VISIBLE.fullmatch(key):
            raise InvalidField("Idempotency-Key", "is to be 1 to 255 visible ASCII characters")
        guest_token = headers.get(b"souk-token", b"").decode("latin-1").strip() or None
        if guest_token is not None and not VISIBLE.fullmatch(guest_token):
            raise InvalidField("Souk-Token", "is not one that we gave")
        return Caller(self._find_principal(path, headers), request_id, key, guest_token)

    def _find_principal(self, path: str, headers: dict[bytes, bytes]) -> Principal:
        authorization = headers.get(b"authorization")
        if authorization is None:
            return ANONYMOUS
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        try:
            return self._verifier.verify(token.strip() if scheme.lower() == "bearer" else "")
        except Unauthenticated:
            # A client that sends its stale token with everything has to be able to renew it; what needs a user refuses itself.
            if path.startswith("/auth/"):
                return ANONYMOUS
            raise


def _read_request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if VISIBLE.fullmatch(given) and len(given) <= 64 else str(new_id())


class _Reply:
    """The answer on its way out; a public one is held back until its ETag is known."""

    def __init__(self, send: Send, method: str, if_none_match: bytes | None, added: list[Header], *, personal: bool) -> None:
        self._personal = personal
        self._send = send
        self._method = method
        self._if_none_match = if_none_match
        self._added = added
        self._held: Message | None = None
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self._held is not None:
            await self._tag(self._held, message)
        else:
            await self._send(message)

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = list(message["headers"])
        names = {name.lower(): value for name, value in headers}
        shared = b"public" in names.get(b"cache-control", b"") and self.status < 400 and not self._personal
        cacheable = shared and self.status == 200
        if not shared:
            headers = [pair for pair in headers if pair[0].lower() != b"cache-control"]
            headers.append((b"cache-control", b"private, no-store"))
        headers += [*self._added, (b"x-content-type-options", b"nosniff")]
        if b"content-security-policy" not in names:
            headers.append((b"content-security-policy", NO_PAGE))
        message = {**message, "headers": headers}
        if cacheable and self._method == "GET" and b"etag" not in names:
            self._held = message
        else:
            await self._send(message)

    async def _tag(self, start: Message, body: Message) -> None:
        self._held = None
        if body.get("more_body"):
            await self._send(start)
            await self._send(body)
            return
        etag = b'W/"%s"' % hashlib.blake2b(body.get("body", b""), digest_size=12).hexdigest().encode()
        headers = [*start["headers"], (b"etag", etag)]
        if self._if_none_match is not None and etag in self._if_none_match:
            self.status = 304
            kept = [pair for pair in headers if pair[0].lower() not in (b"content-length", b"content-type")]
            await self._send({**start, "status": 304, "headers": kept})
            await self._send({**body, "body": b""})
            return
        await self._send({**start, "headers": headers})
        await self._send(body)


async def _refuse(reply: _Reply, status: int, code: str, detail: str) -> None:
    body = msgspec.json.encode(make_problem(status, code, detail))
    headers = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        headers.append((b"retry-after", str(Unavailable.retry_after_s).encode()))
    await _answer(reply, status, headers, body)


async def _answer(reply: _Reply, status: int, headers: list[Header], body: bytes = b"") -> None:
    await reply.send({"type": "http.response.start", "status": status, "headers": headers})
    await reply.send({"type": "http.response.body", "body": body})


def _inspect_address(scope: Scope) -> None:
    """No NUL in a path or query, for PostgreSQL has none in its texts; no card number in a query, for queries are logged and kept."""
    query = unquote_to_bytes(scope["query_string"]) if scope["query_string"] else b""
    if "\0" in scope["path"] or b"\0" in query:
        raise InvalidField("path" if "\0" in scope["path"] else "query", "a text may not contain a NUL character")
    if query:
        refuse_card_numbers(query.replace(b"+", b" "))


def refuse_card_numbers(text: bytes) -> None:
    """Raise CardNumber if a card number (brand's prefix and length, Luhn's check digit) stands anywhere in the text."""
    for match in CARD_LIKE.finditer(text):
        digits = re.sub(rb"[ -]", b"", match.group())
        if CARD_BRANDS.fullmatch(digits) and _luhn(digits):
            raise CardNumber


def _luhn(digits: bytes) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = digit - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0
