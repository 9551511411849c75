"""A small REST API behind the edge of the public listener, on a real socket."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, NamedTuple
from uuid import UUID

import aiohttp
import msgspec
from litestar import Request, Response
from litestar.datastructures import CacheControlHeader
from litestar.params import FromPath, JSONBody, Parameter
from tests.kit.tokens import GOOD, claims, headers, seal

from souk.kit.auth import Verifier
from souk.kit.callers import caller
from souk.kit.errors import Conflict, Stale, TooMany, Unauthenticated, Unavailable
from souk.kit.http import ADMIN, GUEST_OR_USER, PUBLIC, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route
from souk.kit.money import Money

ADMIN_TOKEN = seal(headers(), claims(roles=["admin"]))


class NewThing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    attributes: dict[str, object] = {}


class OutOfThings(Conflict, code="kit.out_of_things"):
    """There are {left} things left."""

    left: int
    price: Money


FAILURES = {
    "refused": OutOfThings(2, Money(5, "EUR")),
    "stale": Stale(),
    "often": TooMany(7),
    "silent": Unavailable("the database of things"),
    "bug": ZeroDivisionError("secret detail"),
    "unknown": Unauthenticated(),
}


class Caller(msgspec.Struct, frozen=True):
    user_id: UUID | None
    seller_ids: tuple[UUID, ...]
    request_id: str
    key: str | None
    guest_token: str | None


@route("GET", "/caller", PUBLIC, cache_control=None)
async def show_caller() -> Caller:
    who = caller()
    return Caller(who.principal.user_id, who.principal.seller_ids, who.request_id, who.idempotency_key, who.guest_token)


@route("GET", "/things", PUBLIC)
async def list_things(limit: Limit = 3, cursor: Cursor = None) -> Page[int]:
    (after,) = read_cursor(cursor, tuple[int]) or (0,)
    return make_page(list(range(after + 1, min(after + limit + 2, 11))), limit, lambda number: (number,))


@route("GET", "/things/{thing_id:uuid}", PUBLIC)
async def get_thing(thing_id: FromPath[UUID]) -> Response[NewThing]:
    return Response(NewThing(str(thing_id)[:4]), headers={"ETag": '"7"'} if thing_id.int == 7 else {})


@route("GET", "/words/{word:str}", PUBLIC)
async def get_word(word: FromPath[str], q: Annotated[str, Parameter(max_length=10)] = "") -> dict[str, str]:
    return {"word": word, "q": q}


@route("POST", "/things", SIGNED_IN)
async def create_thing(data: JSONBody[NewThing]) -> NewThing:
    return data


@route("POST", "/files", PUBLIC, opt={"media_types": ("text/csv",)})
async def upload_file(request: Request[object, object, object]) -> dict[str, int]:
    return {"size": len(await request.body())}


@route("POST", "/raw", PUBLIC)
async def take_raw(data: JSONBody[msgspec.Raw]) -> dict[str, int]:
    return {"size": len(data)}


@route("POST", "/maybe", PUBLIC)
async def take_maybe(data: JSONBody[NewThing | None] = None) -> str:
    return "something" if data else "nothing"


@route("GET", "/mine", GUEST_OR_USER)
async def show_mine() -> str:
    return "mine"


@route("GET", "/admins", ADMIN)
async def show_admins() -> str:
    return "admins"


@route("GET", "/assets", PUBLIC, cache_control=CacheControlHeader(public=True, max_age=86400))
async def show_asset() -> str:
    return "asset"


@route("GET", "/fail/{how:str}", PUBLIC)
async def fail(how: FromPath[str]) -> None:
    raise FAILURES[how]


@route("GET", "/broken/{thing_id:uuid}", PUBLIC)
async def break_thing(thing_id: FromPath[UUID]) -> NewThing:
    raise FAILURES[list(FAILURES)[thing_id.int % 16]]


ROUTES = [
    break_thing,
    show_caller,
    list_things,
    get_thing,
    get_word,
    create_thing,
    upload_file,
    take_raw,
    take_maybe,
    show_mine,
    show_admins,
    show_asset,
    fail,
]


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, object]:
        told: dict[str, object] = msgspec.json.decode(self.content)
        return told


class Web:
    def __init__(self, url: str, session: aiohttp.ClientSession, verifier: Verifier) -> None:
        self.url, self.session, self.verifier = url, session, verifier

    async def ask(self, method: str, path: str, data: object = None, **headers: str) -> Told:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
            return Told(answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read())

    async def get(self, path: str, **headers: str) -> Told:
        return await self.ask("GET", path, None, **headers)

    async def post(self, path: str, data: object, **headers: str) -> Told:
        content = data if isinstance(data, bytes) else msgspec.json.encode(data)
        return await self.ask("POST", path, content, **{"Content_Type": "application/json", "Authorization": f"Bearer {GOOD}"} | headers)

    async def converse(self, text: bytes) -> AsyncGenerator[bytes, bytes]:
        """Requests on one connection, one after the other; the answers' first lines."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            while True:
                writer.write(text)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(length)
                text = yield head.split(b"\r\n")[0]
        finally:
            writer.close()
            await writer.wait_closed()

    async def raw(self, text: bytes) -> bytes:
        """What a client sends that no client library would."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(text)
        answer = await asyncio.wait_for(reader.read(65536), 5)
        writer.close()
        return answer


def is_problem(told: Told, status: int, code: str) -> bool:
    assert told.headers["content-type"] == "application/problem+json"
    assert told.headers["cache-control"] == "private, no-store"
    assert told.headers["x-request-id"] == told.body["instance"]
    assert (told.status, told.body["code"]) == (status, code), told.content
    return told.body["status"] == status and told.body["type"] == f"urn:souk:{code}" and bool(told.body["title"])
