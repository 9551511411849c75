"""The internal listener: calls from other processes of the shop, each with a service token for the called context; health, metrics."""

from typing import Any

import msgspec

from souk.kit.calls import EXPOSED, topology
from souk.kit.errors import Unavailable
from souk.kit.readiness import check_readiness
from souk.kit.scraping import CONTENT_TYPE, may_scrape, write_metrics
from souk.kit.wire import answer_call, check_service_token

LONGEST_CALL_BYTES = 32 * 1024 * 1024


class Internal:
    """An ASGI app that answers `POST /internal/<context>/<function>` for the contexts that this process hosts."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics":
            status, kind, body = _tell_metrics(scope)
        else:
            kind = b"application/msgpack"
            status, body = await self._answer(scope, receive)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Any, receive: Any) -> tuple[int, bytes]:
        prefix, _, path = scope["path"].removeprefix("/").partition("/")
        context = path.partition("/")[0]
        if prefix == "health":
            return await _tell_health()
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        if not check_service_token(self._secrets, context, authorization.removeprefix("Bearer ")):
            return 401, b""
        if prefix != "internal" or scope["method"] != "POST" or context not in topology.hosted or path not in EXPOSED:
            return 404, b""
        body = await _read(receive)
        if body is None:
            return 413, b""
        try:
            return 200, await answer_call(path, body)
        except msgspec.DecodeError:
            return 400, b""


def _tell_metrics(scope: Any) -> tuple[int, bytes, bytes]:
    if not may_scrape(dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")):
        return 401, b"text/plain", b""
    return 200, CONTENT_TYPE.encode(), write_metrics()


async def _tell_health() -> tuple[int, bytes]:
    try:
        await check_readiness()
    except Unavailable as silence:
        return 503, str(silence).encode()
    return 200, b""


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
