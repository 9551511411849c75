"""The internal listener: calls from other processes of the shop, each with a service token for the called context; health, metrics."""

from collections.abc import AsyncIterator
from typing import Any

from souk.kit.calls import EXPOSED, topology
from souk.kit.errors import Unavailable
from souk.kit.readiness import check_readiness
from souk.kit.scraping import CONTENT_TYPE, may_scrape, write_metrics
from souk.kit.wire import AS_THEY_COME, WHOLE, answer_all, answer_each, check_service_token, read_envelopes

LONGEST_CALL_BYTES = 32 * 1024 * 1024


class Internal:
    """An ASGI app that answers `POST /internal/<context>/<function>` for the contexts that this process hosts."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        prefix, _, path = scope["path"].removeprefix("/").partition("/")
        if scope["path"] == "/metrics":
            await _send(send, *_tell_metrics(scope))
        elif prefix == "health":
            await _send(send, *await _tell_health())
        else:
            await self._answer(prefix, path, scope, receive, send)

    async def _answer(self, prefix: str, path: str, scope: Any, receive: Any, send: Any) -> None:
        context, headers = path.partition("/")[0], dict(scope["headers"])
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        if not check_service_token(self._secrets, context, authorization.removeprefix("Bearer ")):
            await _send(send, 401)
        elif prefix != "internal" or scope["method"] != "POST" or context not in topology.hosted or path not in EXPOSED:
            await _send(send, 404)
        elif (body := await _read(receive)) is None:
            await _send(send, 413)
        elif (envelopes := read_envelopes(body)) is None:
            await _send(send, 400)
        elif headers.get(b"accept") == AS_THEY_COME.encode():
            await _send_parts(send, answer_each(path, envelopes))
        else:
            await _send(send, 200, WHOLE, await answer_all(path, envelopes))


async def _send(send: Any, status: int, kind: str = WHOLE, body: bytes = b"") -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_parts(send: Any, parts: AsyncIterator[tuple[bytes, bool]]) -> None:
    """Each part when it is there. One that is all goes as a whole: that is the short way."""
    has_begun = False
    async for part, is_last in parts:
        if not has_begun:
            length = [(b"content-length", str(len(part)).encode())] if is_last else []
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", AS_THEY_COME.encode()), *length]})
            has_begun = True
        await send({"type": "http.response.body", "body": part, "more_body": not is_last})


def _tell_metrics(scope: Any) -> tuple[int, str, bytes]:
    if not may_scrape(dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")):
        return 401, "text/plain", b""
    return 200, CONTENT_TYPE, write_metrics()


async def _tell_health() -> tuple[int, str, bytes]:
    try:
        await check_readiness()
    except Unavailable as silence:
        return 503, "text/plain", str(silence).encode()
    return 200, "text/plain", b""


async def _read(receive: Any) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > LONGEST_CALL_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
