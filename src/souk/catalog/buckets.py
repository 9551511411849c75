"""A bucket of an S3-compatible store, by plain HTTP with AWS Signature Version 4."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
import msgspec

from souk.kit.errors import NotFound, Unavailable

TIMEOUT_S = 20.0


class Credentials(msgspec.Struct, frozen=True):
    """Who signs, and for which region."""

    key_id: str
    secret: str
    region: str


class BucketRefused(Exception):
    """The store does not take our requests: its settings are wrong."""


class Bucket:
    """Keeps files at `<url>/<name>`. Raises Unavailable when the store does not answer, BucketRefused when it says no."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self.url = url
        self.credentials = credentials

    async def put(self, name: str, content: bytes) -> None:
        await self._ask("PUT", name, content)

    async def read(self, name: str) -> bytes:
        return await self._ask("GET", name)

    async def remove(self, name: str) -> None:
        await self._ask("DELETE", name)

    async def _ask(self, method: str, name: str, content: bytes = b"") -> bytes:
        url = f"{self.url}/{name}"
        headers = sign(method, url, content, self.credentials, datetime.now(UTC))
        if method == "PUT":
            headers["content-type"] = "image/webp"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.request(method, url, data=content or None, headers=headers, allow_redirects=False) as answer,
            ):
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as silence:
            raise Unavailable(f"the bucket: {type(silence).__name__}") from silence
        if answer.status == HTTPStatus.NOT_FOUND and method == "GET":
            raise NotFound
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Unavailable(f"the bucket answered {answer.status}")
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES and (method, answer.status) != ("DELETE", HTTPStatus.NOT_FOUND):
            raise BucketRefused(f"{method} {self.url} answered {answer.status}: {body[:300].decode(errors='replace')}")
        return body


def sign(
    method: str, url: str, content: bytes, credentials: Credentials, moment: datetime, headers: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers of a signed request (AWS Signature Version 4); a URL has no query, and nothing in its path to escape."""
    stamp = f"{moment:%Y%m%dT%H%M%SZ}"
    digest = hashlib.sha256(content).hexdigest()
    target = urlsplit(url)
    signed = {"host": target.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp} | dict(headers or {})
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = f"{method}\n{target.path}\n\n{lines}\n{names}\n{digest}"
    scope = f"{stamp[:8]}/{credentials.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    who = f"Credential={credentials.key_id}/{scope},SignedHeaders={names},Signature={signature}"
    return signed | {"authorization": f"AWS4-HMAC-SHA256 {who}"}
