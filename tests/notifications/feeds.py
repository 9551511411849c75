"""What tests of feeds share: people with an account, messages that wait for them, and the feed over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import datetime
from uuid import UUID

import aiohttp
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.conftest import asked_by
from tests.ports import find_free_port

from souk import app, notifications, users
from souk.kit import server
from souk.kit.auth import AUDIENCE, ISSUER, TOKEN_TYPE, PublicKey, TokenPolicy, Verifier
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id
from souk.notifications import http, in_app
from souk.notifications.database import db
from souk.notifications.feed_types import Feed, FeedFilter

ADD_MESSAGES = """
    INSERT INTO notifications.message
        (id, letter_id, notice_id, user_id, channel, kind, topic, mandatory, content, status, due_at, give_up_at)
    SELECT u.id, u.id, u.id, u.user_id, $3, $4, 'order_updates', false, $5, 'waiting', coalesce($6, now()), now() + interval '3 days'
    FROM unnest($1::uuid[], $2::uuid[]) AS u (id, user_id)
"""
CONTENT = {"order_id": "0197a3b0-0000-7000-8000-000000000001", "number": "1042"}


def as_system() -> AbstractContextManager[None]:
    return asking(Caller(SYSTEM, request_id="test"))


def as_reader(user_id: UUID) -> AbstractContextManager[None]:
    return asked_by("buyer", user_id=user_id)


async def make_people(count: int = 1, verified: bool = True) -> tuple[UUID, ...]:
    """So many people with an account."""
    made = tuple(users.NewUser(id=(one := new_id()), email=f"{one}@example.com", email_verified=verified) for _ in range(count))
    with as_system():
        return await users.register_users(made)


async def make_person() -> UUID:
    (made,) = await make_people()
    return made


async def announce(
    user_ids: Sequence[UUID], kind: str = "order_shipped", content: dict[str, object] = CONTENT, due_at: datetime | None = None
) -> list[UUID]:
    """Messages in_app that wait for these people, one for each time that they are named; their ids."""
    ids = [new_id() for _ in user_ids]
    async with db.transaction() as tx:
        await tx.run(ADD_MESSAGES, ids, list(user_ids), "in_app", kind, content, due_at)
    return ids


async def deliver() -> None:
    """Everything that is due comes into the feeds."""
    with as_system():
        while await in_app.deliver_in_app():
            continue


async def tell(user_id: UUID, count: int = 1) -> list[UUID]:
    """So many messages in somebody's feed, each final before the next."""
    ids = []
    for _ in range(count):
        ids += await announce([user_id])
        await deliver()
    return ids


async def fill(user_id: UUID, count: int) -> list[UUID]:
    """Many messages at once."""
    ids = await announce([user_id] * count)
    await deliver()
    return ids


async def read_feed(user_id: UUID, limit: int = 100, cursor: str | None = None, **wanted: object) -> Feed:
    with as_reader(user_id):
        return await notifications.list_notifications(None, FeedFilter(**wanted), limit, cursor)


async def states(ids: Sequence[UUID]) -> list[tuple[str, str | None]]:
    """What became of messages."""
    async with db.transaction() as tx:
        rows = await tx.connection.fetch("SELECT id, status, reason FROM notifications.message WHERE id = ANY($1)", list(ids))
    found = {row["id"]: (row["status"], row["reason"]) for row in rows}
    return [found[one] for one in ids]


class Heard(msgspec.Struct, frozen=True):
    """An event of a stream."""

    id: str
    event: str
    data: dict[str, object]


class Listener:
    """A client that listens to a stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.heard: list[Heard] = []

    async def next(self) -> Heard | None:
        """The next event; None when the stream has ended."""
        async with asyncio.timeout(10):
            while True:
                try:
                    block = (await self.answer.content.readuntil(b"\n\n")).decode()
                except (asyncio.IncompleteReadError, aiohttp.ClientError):
                    return None
                if not block:
                    return None
                fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
                if "data" in fields:
                    self.heard.append(Heard(fields["id"], fields["event"], msgspec.json.decode(fields["data"])))
                    return self.heard[-1]

    async def hear(self, count: int) -> list[str]:
        """The ids of the next messages."""
        found = [await self.next() for _ in range(count)]
        return [str(one.data["id"]) for one in found if one is not None]

    def close(self) -> None:
        self.answer.close()


class Web:
    """The routes of notifications behind the real server."""

    def __init__(self, session: aiohttp.ClientSession, url: str, verifier: Verifier, issue: Callable[[dict[str, object]], str]) -> None:
        self.session, self.url, self.verifier, self._issue = session, url, verifier, issue
        self.policy = TokenPolicy()

    def token(self, user_id: UUID, session_id: UUID | None = None, life_s: float = 600) -> dict[str, str]:
        return self._sign(user_id, session_id or new_id(), life_s, ())

    def admin_token(self) -> dict[str, str]:
        return self._sign(new_id(), new_id(), 600, ("admin",))

    def _sign(self, user_id: UUID, session_id: UUID, life_s: float, roles: tuple[str, ...]) -> dict[str, str]:
        now = time.time()
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(user_id), "sid": str(session_id), "iat": now, "exp": now + life_s}
        return {"Authorization": f"Bearer {self._issue({**claims, 'roles': roles})}"}

    async def listen(self, headers: dict[str, str], query: str = "", last: str | None = None) -> Listener:
        if last is not None:
            headers = {**headers, "Last-Event-ID": last}
        answer = await self.session.get(f"{self.url}/notifications/stream{query}", headers=headers)
        if answer.status == 200:
            assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        return Listener(answer)

    async def ask(self, method: str, path: str, user_id: UUID | None = None, body: object = None, **headers: str) -> tuple[int, object]:
        sent = (self.token(user_id) if user_id else {}) | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, headers=sent, json=body) as answer:
            content = await answer.read()
            return answer.status, msgspec.json.decode(content) if content else None


@asynccontextmanager
async def serve(port: int | None = None) -> AsyncIterator[Web]:
    """Serve the routes of notifications."""
    key = Ed25519PrivateKey.generate()
    verifier, ready, stopping = Verifier(), asyncio.Event(), asyncio.Event()
    policy = TokenPolicy((PublicKey("test", key.public_key().public_bytes_raw()),))
    verifier.learn(policy)

    def issue(claims: dict[str, object]) -> str:
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "test", "typ": TOKEN_TYPE})

    port = port or find_free_port()
    listener = server.Listener(app.make_rest_app(list(http.routes), verifier), "127.0.0.1", port)
    serving = asyncio.create_task(server.serve_until_stopped([listener], ready.set, stopping))
    await ready.wait()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        web = Web(session, f"http://127.0.0.1:{port}", verifier, issue)
        web.policy = policy
        yield web
        stopping.set()
        await serving
