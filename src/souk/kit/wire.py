"""Calls over HTTP: how arguments, callers, answers and refusals cross between two processes."""

import asyncio
import logging
import time
from functools import lru_cache
from typing import Any

import aiohttp
import jwt
import msgspec

from souk.kit.batching import Asked, Batcher
from souk.kit.callers import Caller, Principal
from souk.kit.calls import EXPOSED, BatchedFunction, Exposed
from souk.kit.errors import DomainError, Failed, Unavailable, refusal_from_wire, refusal_to_wire
from souk.kit.tracing import tracing

log = logging.getLogger(__name__)

TOKEN_LIFE_S = 60
# Each process that calls makes two a minute.
KNOWN_TOKENS = 1_000
# How long a call without a deadline of its own may take on the wire.
LONGEST_CALL_S = 60.0
ISSUER = "souk-process"

_encode = msgspec.msgpack.encode


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call on its way: who asks, how long they will wait, and the arguments."""

    principal: Principal
    request_id: str
    seconds_left: float
    arguments: msgspec.Raw
    idempotency_key: str | None = None
    guest_token: str | None = None
    traceparent: str | None = None


NOTHING = msgspec.Raw(_encode(None))


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of: a value, a refusal, silence; `failed` if that is a bug's."""

    value: msgspec.Raw = NOTHING  # `Raw | None` cannot be decoded
    refusal: dict[str, Any] | None = None
    silence: str | None = None
    failed: bool = False


_envelopes = msgspec.msgpack.Decoder(tuple[Envelope, ...])
_answers = msgspec.msgpack.Decoder(tuple[Answer, ...])


def make_service_token(secret: str, context: str) -> str:
    """A token that opens the internal listener of one context for a minute."""
    return jwt.encode({"iss": ISSUER, "aud": context, "exp": int(time.time()) + TOKEN_LIFE_S}, secret, algorithm="HS256")


def check_service_token(secrets: tuple[str, ...], context: str, token: str) -> bool:
    """Whether a process that knows one of our secrets made this token for this context within the last minute."""
    return time.time() < _find_end(secrets, context, token)


@lru_cache(maxsize=KNOWN_TOKENS)
def _find_end(secrets: tuple[str, ...], context: str, token: str) -> float:
    """When a token's time is over; long ago if it is none of ours. To look at it costs a fifth of a small call: that is done once."""
    for secret in secrets:
        try:
            claims = jwt.decode(
                token, secret, algorithms=["HS256"], audience=context, issuer=ISSUER, options={"require": ["exp", "aud", "iss"]}
            )
        except jwt.PyJWTError:
            continue
        return float(claims["exp"])
    return 0.0


class HttpPeer:
    """A process that hosts a context, reached at its internal listener."""

    def __init__(self, context: str, url: str, secret: str, session: aiohttp.ClientSession) -> None:
        self.context = context
        self.url = url.rstrip("/")
        self.secret = secret
        self.session = session
        self._token = ""
        self._token_until = 0.0
        self._batchers: dict[str, Batcher[Any, Any]] = {}

    async def ask(self, function: Exposed, arguments: Any, who: Caller) -> Any:
        """The function's answer from over there; raises its refusal, or Unavailable."""
        if isinstance(function, BatchedFunction):
            # One request carries all who ask for it at this moment; over there they are one batch again.
            return await self._batcher_of(function).ask(arguments, who)
        (answer,) = await self._ask_all(function, ((arguments, who),))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _batcher_of(self, function: Exposed) -> Batcher[Any, Any]:
        if function.path not in self._batchers:

            async def carry(batch: tuple[Asked[Any], ...]) -> tuple[Any, ...]:
                return await self._ask_all(function, tuple((asked.request, asked.caller) for asked in batch))

            self._batchers[function.path] = Batcher(carry, lanes=4, turns=False)
        return self._batchers[function.path]

    async def _ask_all(self, function: Exposed, questions: tuple[tuple[Any, Caller], ...]) -> tuple[Any, ...]:
        envelopes = tuple(_pack(arguments, who) for arguments, who in questions)
        patience_s = max(envelope.seconds_left for envelope in envelopes)
        content = await self._post(function.path, _encode(envelopes), patience_s)
        try:
            return tuple(_unpack(function, answer) for _, answer in zip(envelopes, _answers.decode(content), strict=True))
        except (msgspec.DecodeError, KeyError, ValueError) as unknown:
            # Another program listens there, or another version of this one.
            raise Unavailable(f"{function.path}: its answer cannot be read: {unknown}") from unknown

    async def _post(self, path: str, body: bytes, timeout_s: float) -> bytes:
        headers = {"Authorization": f"Bearer {self._fresh_token()}", "Content-Type": "application/msgpack"}
        try:
            async with self.session.post(
                f"{self.url}/internal/{path}", data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s)
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as silence:
            raise Unavailable(f"{path}: {type(silence).__name__}") from silence
        if response.status != 200:
            raise Unavailable(f"{path}: its process answered {response.status}")
        return content

    def _fresh_token(self) -> str:
        now = time.monotonic()
        if now > self._token_until:
            self._token = make_service_token(self.secret, self.context)
            self._token_until = now + TOKEN_LIFE_S / 2
        return self._token


def _pack(arguments: Any, who: Caller) -> Envelope:
    return Envelope(
        principal=who.principal,
        request_id=who.request_id,
        seconds_left=min(who.seconds_left(), LONGEST_CALL_S),
        arguments=msgspec.Raw(_encode(arguments)),
        idempotency_key=who.idempotency_key,
        guest_token=who.guest_token,
        traceparent=who.traceparent,
    )


def _unpack(function: Exposed, answer: Answer) -> Any:
    if answer.silence is not None:
        return Failed(answer.silence) if answer.failed else Unavailable(answer.silence)
    if answer.refusal is not None:
        return refusal_from_wire(answer.refusal)
    return function.answer_decoder.decode(answer.value)


async def answer_call(path: str, body: bytes) -> bytes:
    """Run the calls in `body` here and give their answers; the other end of HttpPeer."""
    function = EXPOSED[path]
    return _encode(await asyncio.gather(*(_answer_one(function, envelope) for envelope in _envelopes.decode(body))))


async def _answer_one(function: Exposed, envelope: Envelope) -> Answer:
    with tracing.span(function.path, "server", envelope.traceparent) as span:
        return await _answer_for(function, envelope, span.traceparent)


async def _answer_for(function: Exposed, envelope: Envelope, traceparent: str | None) -> Answer:
    who = Caller(
        principal=envelope.principal,
        request_id=envelope.request_id,
        idempotency_key=envelope.idempotency_key,
        guest_token=envelope.guest_token,
        deadline=time.monotonic() + envelope.seconds_left,
        inside=function.path,
        traceparent=traceparent,
    )
    try:
        value = await function.run_here(function.argument_decoder.decode(envelope.arguments), who)
    except DomainError as refusal:
        return Answer(refusal=refusal_to_wire(refusal))
    except Unavailable as silence:
        return Answer(silence=f"{function.path}: {silence}", failed=isinstance(silence, Failed))
    except Exception:
        # A bug over here is silence over there: the neighbours of this item in the batch are not to suffer from it.
        log.exception("call_failed", extra={"function": function.path})
        return Answer(silence=f"{function.path} failed", failed=True)
    return Answer(value=msgspec.Raw(_encode(value)))
