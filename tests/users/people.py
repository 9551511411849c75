"""People for tests: they register, and they ask with the access token that they were given."""

from contextlib import AbstractContextManager
from uuid import UUID

from souk import users
from souk.kit.auth import Verifier
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.users.database import db

PASSWORD = "correct horse battery"
HOME = "203.0.113.7"
ELSEWHERE = "198.51.100.23"


async def register(name: str = "ada", address: str = HOME) -> users.Registered:
    """Somebody new, signed in."""
    return await users.register_user(users.Register(f"{name}@example.com", PASSWORD), address)


async def sign_in(name: str = "ada", password: str = PASSWORD, address: str = HOME) -> users.Tokens:
    return await users.open_session(users.Login(f"{name}@example.com", password), address)


async def read_token(token: str) -> Principal:
    """Who asks with this access token; raises Unauthenticated. The policy is the newest."""
    verifier = Verifier()
    verifier.learn(await users.get_token_policy())
    return verifier.verify(token)


async def with_token(tokens: users.Tokens | users.Registered) -> AbstractContextManager[None]:
    """Whatever runs inside is asked for with this access token."""
    return asking(Caller(await read_token(tokens.access_token), request_id="test"))


def as_user(user_id: UUID, *roles: str) -> AbstractContextManager[None]:
    return asking(Caller(Principal("user", user_id, roles), request_id="test"))


def as_system() -> AbstractContextManager[None]:
    return asking(Caller(SYSTEM, request_id="test"))


async def events_of(kind: str) -> list[UUID]:
    """Of whom the events of this kind tell, in their order."""
    async with db.transaction() as tx:
        rows = await tx.connection.fetch("SELECT aggregate_id FROM users.outbox WHERE type = $1 ORDER BY xid, id", f"users.{kind}")
    return [row["aggregate_id"] for row in rows]
