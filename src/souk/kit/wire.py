"""Calls over HTTP: how arguments, callers, answers and refusals cross between two processes."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import aiohttp
import jwt
import msgspec

from souk.kit.batching import Asked, Batcher
from souk.kit.callers import Caller, Principal
from souk.kit.calls import EXPOSED, BatchedFunction, Exposed
from souk.kit.errors import DomainError, Failed, Unavailable, refusal_from_wire, refusal_to_wire
from souk.kit.gathering import Gathering, Question
from souk.kit.tracing import tracing

log = logging.getLogger(__name__)

TOKEN_LIFE_S = 60
# Each process that calls makes two a minute.
KNOWN_TOKENS = 1_000
# How long a call without a deadline of its own may take on the wire.
LONGEST_CALL_S = 60.0
ISSUER = "souk-process"
WHOLE = "application/msgpack"
# Answers in the order in which they come: parts, each with its length before it. Who asks for one thing only need not say so.
AS_THEY_COME = "application/x-souk-answers"
LENGTH_BYTES = 4

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
_placed_answers = msgspec.msgpack.Decoder(tuple[tuple[int, Answer], ...])


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
        self._gatherings: dict[str, Gathering] = {}

    async def ask(self, function: Exposed, arguments: Any, who: Caller) -> Any:
        """The function's answer from over there; raises its refusal, or Unavailable."""
        if isinstance(function, BatchedFunction):
            # One request carries all who ask for it at this moment; over there they are one batch again.
            return await self._batcher_of(function).ask(arguments, who)
        envelope = _pack(arguments, who)
        return await self._gathering_of(function).ask(envelope, len(envelope.arguments))

    async def ask_many(self, function: Exposed, asked: Sequence[tuple[Any, Caller]], deadline: float) -> tuple[Any, ...]:
        """The answer or the refusal to each; Unavailable for those that have none at the deadline."""
        return await self._batcher_of(function).ask_many(asked, deadline)

    def _batcher_of(self, function: Exposed) -> Batcher[Any, Any]:
        if function.path not in self._batchers:

            async def carry(batch: tuple[Asked[Any], ...]) -> tuple[Any, ...]:
                return await self._ask_all(function, tuple(_pack(asked.request, asked.caller) for asked in batch))

            self._batchers[function.path] = Batcher(carry, lanes=4, turns=False)
        return self._batchers[function.path]

    def _gathering_of(self, function: Exposed) -> Gathering:
        if function.path not in self._gatherings:

            async def carry(questions: Sequence[Question]) -> None:
                await self._ask_each(function, questions)

            self._gatherings[function.path] = Gathering(carry)
        return self._gatherings[function.path]

    async def _ask_all(self, function: Exposed, envelopes: tuple[Envelope, ...]) -> tuple[Any, ...]:
        """The answers to all, when the last of them is there."""
        async with self._post(function.path, envelopes, WHOLE) as response:
            answers = _answers.decode(await response.read())
            return tuple(_unpack(function, answer) for _, answer in zip(envelopes, answers, strict=True))

    async def _ask_each(self, function: Exposed, questions: Sequence[Question]) -> None:
        """Give each its answer when it comes."""
        envelopes = tuple(question.envelope for question in questions)
        async with self._post(function.path, envelopes, AS_THEY_COME if len(envelopes) > 1 else WHOLE) as response:
            if response.content_type != AS_THEY_COME:
                # One alone; or the process over there is of a release that knew no other way.
                answers = _answers.decode(await response.read())
                for question, answer in zip(questions, answers, strict=True):
                    question.settle(_unpack(function, answer))
                return
            missing = len(questions)
            while missing:
                length = int.from_bytes(await response.content.readexactly(LENGTH_BYTES))
                some = _placed_answers.decode(await response.content.readexactly(length))
                for place, answer in some:
                    questions[place].settle(_unpack(function, answer))
                missing -= len(some)
            # To its end: a connection of which something is left to read is not used again.
            await response.content.read()

    @asynccontextmanager
    async def _post(self, path: str, envelopes: tuple[Envelope, ...], accept: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of the process over there, while it comes; raises Unavailable, also for what it says that cannot be read."""
        headers = {"Authorization": f"Bearer {self._fresh_token()}", "Content-Type": WHOLE, "Accept": accept}
        patience = aiohttp.ClientTimeout(total=max(envelope.seconds_left for envelope in envelopes))
        try:
            async with self.session.post(
                f"{self.url}/internal/{path}", data=_encode(envelopes), headers=headers, timeout=patience
            ) as response:
                if response.status != 200:
                    raise Unavailable(f"{path}: its process answered {response.status}")
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError, EOFError) as silence:
            raise Unavailable(f"{path}: {type(silence).__name__}") from silence
        except (msgspec.DecodeError, LookupError, ValueError) as unknown:
            # Another program listens there, or another version of this one.
            raise Unavailable(f"{path}: its answer cannot be read: {unknown}") from unknown

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


def read_envelopes(body: bytes) -> tuple[Envelope, ...] | None:
    """The calls in a request; None if these are none."""
    try:
        return _envelopes.decode(body)
    except msgspec.DecodeError:
        return None


async def answer_all(path: str, envelopes: tuple[Envelope, ...]) -> bytes:
    """Run the calls here and give their answers when all of them are there; the other end of HttpPeer."""
    function = EXPOSED[path]
    if isinstance(function, BatchedFunction):
        return _encode(await _answer_batch(function, envelopes))
    return _encode(await asyncio.gather(*(_answer_one(function, envelope) for envelope in envelopes)))


async def answer_each(path: str, envelopes: tuple[Envelope, ...]) -> AsyncIterator[tuple[bytes, bool]]:
    """Run the calls here and give answers as they come, some at a time, and whether these are the last."""
    function = EXPOSED[path]
    waiting = {asyncio.create_task(_answer_one(function, envelope)): place for place, envelope in enumerate(envelopes)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            part = _encode([(waiting.pop(task), task.result()) for task in done])
            yield len(part).to_bytes(LENGTH_BYTES) + part, not waiting
    finally:
        for task in waiting:
            task.cancel()


async def _answer_batch(function: BatchedFunction[Any, Any], envelopes: tuple[Envelope, ...]) -> tuple[Answer, ...]:
    read = [_read_arguments(function, envelope) for envelope in envelopes]
    asked = [
        (arguments, _find_caller(function, envelope, envelope.traceparent))
        for arguments, envelope in zip(read, envelopes, strict=True)
        if not isinstance(arguments, Exception)
    ]
    with tracing.join(function.path, "server", (who.traceparent for _, who in asked)):
        answers = iter(await function.batcher.ask_many(asked, max((who.deadline for _, who in asked), default=0.0)))
    return tuple(_tell(function, arguments if isinstance(arguments, Exception) else next(answers)) for arguments in read)


async def _answer_one(function: Exposed, envelope: Envelope) -> Answer:
    with tracing.span(function.path, "server", envelope.traceparent) as span:
        arguments = _read_arguments(function, envelope)
        if isinstance(arguments, Exception):
            return _tell(function, arguments)
        try:
            return _tell(function, await function.run_here(arguments, _find_caller(function, envelope, span.traceparent)))
        except Exception as failure:
            return _tell(function, failure)


def _read_arguments(function: Exposed, envelope: Envelope) -> Any:
    """The arguments of a call, or why they cannot be read."""
    try:
        return function.argument_decoder.decode(envelope.arguments)
    except msgspec.DecodeError as unknown:
        return unknown


def _find_caller(function: Exposed, envelope: Envelope, traceparent: str | None) -> Caller:
    return Caller(
        principal=envelope.principal,
        request_id=envelope.request_id,
        idempotency_key=envelope.idempotency_key,
        guest_token=envelope.guest_token,
        deadline=time.monotonic() + envelope.seconds_left,
        inside=function.path,
        traceparent=traceparent,
    )


def _tell(function: Exposed, outcome: Any) -> Answer:
    """How a value, a refusal or silence travels. A bug over here is silence over there, of which the neighbours do not suffer."""
    if isinstance(outcome, DomainError):
        return Answer(refusal=refusal_to_wire(outcome))
    if isinstance(outcome, Unavailable):
        return Answer(silence=f"{function.path}: {outcome}", failed=isinstance(outcome, Failed))
    if isinstance(outcome, Exception):
        log.error("call_failed", exc_info=outcome, extra={"function": function.path})
        return Answer(silence=f"{function.path} failed", failed=True)
    return Answer(value=msgspec.Raw(_encode(outcome)))
