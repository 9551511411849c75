"""The catalogue over real HTTP, and whoever asks there."""

import io
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.ports import find_free_port

from souk import app
from souk.app import Shop
from souk.catalog import http, settings
from souk.kit.auth import AUDIENCE, ISSUER, TOKEN_TYPE, PublicKey, TokenPolicy, Verifier
from souk.kit.ids import new_id
from souk.kit.server import Listener


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.body.splitlines()]


class Web:
    """Asks over HTTP, for somebody or for nobody."""

    def __init__(self, session: aiohttp.ClientSession, url: str, issue: Callable[..., str]) -> None:
        self.session = session
        self.url = url
        self.issue = issue
        self.authorization: dict[str, str] = {}

    def signed_in(self, *roles: str, sells_for: tuple[UUID, ...] = ()) -> "Web":
        other = Web(self.session, self.url, self.issue)
        other.authorization = {"Authorization": f"Bearer {self.issue(roles, sells_for)}"}
        return other

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        given = self.authorization | {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            body = io.BytesIO(body)
        sent: dict[str, object] = {"data" if isinstance(body, io.BytesIO | aiohttp.FormData) else "json": body}
        if body is None:
            sent = {"skip_auto_headers": ("Content-Type",)}
        async with self.session.request(method, self.url + path, headers=given, **sent) as answer:
            return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read())


@pytest.fixture
async def web(shop: Shop, tmp_path: Path) -> AsyncIterator[Web]:
    """The catalogue's routes behind the real listener."""
    key = Ed25519PrivateKey.generate()
    verifier = Verifier()
    verifier.learn(TokenPolicy((PublicKey("test", key.public_key().public_bytes_raw()),)))

    def issue(roles: tuple[str, ...], sells_for: tuple[UUID, ...]) -> str:
        now = time.time()
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(new_id()), "sid": str(new_id()), "iat": now, "exp": now + 600}
        claims |= {"roles": roles, "sellers": [str(one) for one in sells_for]}
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "test", "typ": TOKEN_TYPE})

    home = settings.place.now.home
    settings.place.replace(home=tmp_path)
    port = find_free_port()
    listener = Listener(app.make_rest_app(list(http.routes), verifier), "127.0.0.1", port)
    await listener.open()
    async with aiohttp.ClientSession() as session:
        yield Web(session, f"http://127.0.0.1:{port}", issue)
    await listener.close()
    settings.place.replace(home=home)
