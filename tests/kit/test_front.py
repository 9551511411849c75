"""The edge of the public listener, over a real socket: who asks, what is refused before any handler, what may be kept, how it fails."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Annotated, NamedTuple
from uuid import UUID

import aiohttp
import msgspec
import pytest
from litestar import Request, Response
from litestar.datastructures import CacheControlHeader
from litestar.params import FromPath, JSONBody, Parameter
from tests.kit.test_auth import FORGED, GOOD, POLICY, SELLER, USER, claims, headers, seal
from tests.ports import find_free_port

from souk import app
from souk.kit import server
from souk.kit.auth import Verifier
from souk.kit.callers import caller
from souk.kit.errors import Conflict, Stale, TooMany, Unavailable
from souk.kit.http import ADMIN, GUEST_OR_USER, PUBLIC, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route
from souk.kit.ids import new_id
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
    raise {
        "refused": OutOfThings(2, Money(5, "EUR")),
        "stale": Stale(),
        "often": TooMany(7),
        "silent": Unavailable("the database of things"),
        "bug": ZeroDivisionError("secret detail"),
    }[how]


ROUTES = [
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


class Shop:
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

    async def raw(self, text: bytes) -> bytes:
        """What a client sends that no client library would."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(text)
        answer = await asyncio.wait_for(reader.read(65536), 5)
        writer.close()
        return answer


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    verifier = Verifier()
    verifier.learn(POLICY)
    port, stopping, ready = find_free_port(), asyncio.Event(), asyncio.Event()
    listener = server.make_listener(app.make_rest_app(list(ROUTES), verifier), "127.0.0.1", port)
    serving = asyncio.create_task(server.serve_until_stopped([listener], ready.set, stopping))
    await ready.wait()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, skip_auto_headers=("Content-Type",)) as session:
        yield Shop(f"http://127.0.0.1:{port}", session, verifier)
    stopping.set()
    await serving


def is_problem(told: Told, status: int, code: str) -> bool:
    assert told.headers["content-type"] == "application/problem+json"
    assert told.headers["cache-control"] == "private, no-store"
    assert told.headers["x-request-id"] == told.body["instance"]
    assert (told.status, told.body["code"]) == (status, code), told.content
    return told.body["status"] == status and told.body["type"] == f"urn:souk:{code}" and bool(told.body["title"])


async def test_who_asks_is_known_to_the_handler(shop: Shop) -> None:
    told = await shop.get("/caller", Authorization=f"bearer {GOOD}", X_Request_Id="mine-7", Idempotency_Key="key-7", Souk_Token="guest-7")
    assert (told.body["user_id"], told.body["seller_ids"]) == (str(USER), [str(SELLER)])
    assert (told.body["request_id"], told.body["key"], told.body["guest_token"]) == ("mine-7", "key-7", "guest-7")
    assert (told.headers["x-request-id"], told.headers["x-content-type-options"]) == ("mine-7", "nosniff")
    assert told.headers["cache-control"] == "private, no-store"
    nobody = await shop.get("/caller")
    assert (nobody.body["user_id"], nobody.body["key"]) == (None, None)


async def test_a_request_without_an_id_that_we_like_gets_one(shop: Shop) -> None:
    ids = {(await shop.get("/caller", X_Request_Id=given)).headers["x-request-id"] for given in ("", "x" * 65, "two words", "ü")}
    assert len({UUID(one) for one in ids}) == 4


@pytest.mark.parametrize("token", ["", "Basic dTpw", "Bearer", "Bearer x", f"Bearer {FORGED['expired']}", f"Token {GOOD}"])
async def test_a_bad_token_is_refused_even_where_none_is_needed(shop: Shop, token: str) -> None:
    told = await shop.get("/things", Authorization=token)
    assert is_problem(told, 401, "unauthenticated")
    assert told.headers["www-authenticate"] == "Bearer"


async def test_a_process_without_keys_cannot_tell_and_says_so(shop: Shop) -> None:
    shop.verifier._has_learned = False
    told = await shop.get("/mine", Authorization=f"Bearer {GOOD}")
    assert is_problem(told, 503, "unavailable")
    assert told.headers["retry-after"] == "1"
    assert (await shop.get("/things")).status == 200


async def test_each_route_is_for_those_it_says(shop: Shop) -> None:
    user, admin, guest = {"Authorization": f"Bearer {GOOD}"}, {"Authorization": f"Bearer {ADMIN_TOKEN}"}, {"Souk_Token": "guest-7"}
    for path, statuses in (("/things", [200, 200, 200, 200]), ("/mine", [401, 200, 200, 200]), ("/admins", [401, 401, 403, 200])):
        assert [(await shop.get(path, **who)).status for who in ({}, guest, user, admin)] == statuses


@pytest.mark.parametrize(
    ("how", "status", "code", "more"),
    [
        ("refused", 409, "kit.out_of_things", {"left": 2, "price": {"amount": 5, "currency": "EUR"}, "detail": "There are 2 things left."}),
        ("stale", 412, "stale", {}),
        ("often", 429, "too_many_requests", {"retry_after_s": 7}),
        ("silent", 503, "unavailable", {}),
        ("bug", 500, "internal_error", {}),
    ],
)
async def test_a_failure_is_a_problem(shop: Shop, how: str, status: int, code: str, more: dict[str, object]) -> None:
    told = await shop.get(f"/fail/{how}")
    assert is_problem(told, status, code)
    assert more.items() <= told.body.items()
    assert b"secret" not in told.content and b"database of things" not in told.content
    assert told.headers.get("retry-after") == {429: "7", 503: "1"}.get(status)


async def test_what_is_not_there_or_not_meant_so_is_a_problem_too(shop: Shop) -> None:
    assert is_problem(await shop.get("/nowhere"), 404, "not_found")
    assert is_problem(await shop.get("/things/no-uuid"), 404, "not_found")
    assert is_problem(await shop.ask("DELETE", "/things"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 21}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({}, "name"),
        ({"name": "x", "quantity": 0}, "quantity"),
        ({"name": "x", "quantity": -1}, "quantity"),
        ({"name": "x", "quantity": 2**63}, "quantity"),
        ({"name": "x", "quantity": 10**30}, "quantity"),
        ({"name": "x", "quantity": 1.5}, "quantity"),
        ({"name": "x", "quantity": "1"}, "quantity"),
        ({"name": "x", "more": 1}, "more"),
        ([], ""),
    ],
)
async def test_a_field_that_is_not_as_it_should_be_is_named(shop: Shop, body: object, field: str) -> None:
    told = await shop.post("/things", body)
    assert is_problem(told, 422, "invalid_request")
    assert field in str(told.body["errors"])


@pytest.mark.parametrize("body", [b"{", b"", b"{'name': 'x'}", b'{"name": "\xff"}', b'{"name": "x"} {}', b"\x01", b'{"name": "\\ud800"}'])
async def test_what_is_no_json_is_malformed(shop: Shop, body: bytes) -> None:
    assert is_problem(await shop.post("/things", body), 400, "malformed_request")


OTHER_TYPES = ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x", ""]


@pytest.mark.parametrize("media_type", OTHER_TYPES)
async def test_another_media_type_than_json_is_refused(shop: Shop, media_type: str) -> None:
    assert is_problem(await shop.post("/things", {"name": "x"}, Content_Type=media_type), 415, "unsupported_media_type")


JSON_TYPES = ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]


@pytest.mark.parametrize("media_type", JSON_TYPES)
async def test_json_by_any_of_its_names_is_taken(shop: Shop, media_type: str) -> None:
    assert (await shop.post("/things", {"name": "x"}, Content_Type=media_type)).status == 201


async def test_a_route_may_take_another_media_type(shop: Shop) -> None:
    assert (await shop.post("/files", b"a,b\n", Content_Type="text/csv; header=present")).body == {"size": 4}
    assert is_problem(await shop.post("/things", b"a,b\n", Content_Type="text/csv"), 415, "unsupported_media_type")


async def test_a_request_without_a_body_has_no_media_type_to_be_refused(shop: Shop) -> None:
    for media_type in ("", "application/octet-stream", "application/x-www-form-urlencoded", "application/json"):
        assert (await shop.ask("POST", "/maybe", None, Content_Type=media_type)).content == b"nothing"
    assert (await shop.post("/maybe", {"name": "x"})).content == b"something"
    assert is_problem(await shop.post("/maybe", {"name": "x"}, Content_Type="text/plain"), 415, "unsupported_media_type")


async def test_a_body_without_length_or_type_is_looked_at_like_any_other(shop: Shop) -> None:
    chunked = b"POST /%s HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n"
    card = b'{"name": "4242424242424242"}'
    for type_, status in ((b"", b" 415 "), (b"Content-Type: application/json\r\n", b" 422 ")):
        answer = await shop.raw(chunked % (b"raw", type_, len(card), card))
        assert status in answer.split(b"\r\n")[0]


@pytest.mark.parametrize("body", [b'{"name": "a\\u0000b"}', b'{"name": "a\x00b"}', b'{"name": "x", "attributes": {"\\u0000": 1}}'])
async def test_a_nul_is_refused(shop: Shop, body: bytes) -> None:
    told = await shop.post("/things", body)
    assert is_problem(told, 422, "invalid_field")


@pytest.mark.parametrize("path", ["/words/a%00b", "/words/a?q=a%00b", "/things?cursor=%00", "/nowhere%00"])
async def test_a_nul_in_an_address_is_refused(shop: Shop, path: str) -> None:
    answer = await shop.raw(b"GET %s HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n" % path.encode())
    assert b" 422 " in answer.split(b"\r\n")[0], answer


NO_TEXTS = ["/words/%ff%fe", "/words/a?q=%ff", "/words/%ed%a0%80", "/words/a?q=%ed%a0%80", "/%ff", "/words/a?q=%", "/words/%zz"]


@pytest.mark.parametrize("path", NO_TEXTS)
async def test_an_address_that_is_no_text_is_no_failure_of_ours(shop: Shop, path: str) -> None:
    answer = await shop.raw(b"GET %s HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n" % path.encode())
    assert answer.split(b" ")[1] in (b"200", b"400", b"404", b"422"), answer
    if answer.split(b" ")[1] == b"200":
        answer.partition(b"\r\n\r\n")[2].decode()


CARDS = [
    "4242424242424242",
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "5555555555554444",
    "2223003122003222",
    "2424248888888889",
    "378282246310005",
    "3782 822463 10005",
    "6011111111111117",
    "3566002020360505",
    "30569309025904",
    "36227206271667",
    "6200000000000005",
    "6205500000000000004",
]
NO_CARDS = [
    "4242424242424241",
    "424242424242424",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "4242424242424242000000",
    "A4242424242424242",
    "+4242424242424242",
    "42424242424242.42",
    "1234567890123456",
    "9780201379624",
    "2026-11-21 03:24:36",
]


@pytest.mark.parametrize("number", CARDS)
async def test_a_card_number_is_refused_wherever_it_stands(shop: Shop, number: str) -> None:
    for attributes in ({"note": f"my card: {number}, please"}, {number: 1}, {"deep": [{"er": number}]}):
        assert is_problem(await shop.post("/things", {"name": "x", "attributes": attributes}), 422, "card_number_refused")
    assert is_problem(await shop.get("/words/a?q=" + number.replace(" ", "+")), 422, "card_number_refused")


async def test_a_card_number_is_refused_however_it_is_written(shop: Shop) -> None:
    for body in (b'{"name": "\\u0034242424242424242"}', b'{"name": "x", "attributes": {"a": 4242424242424242}}', b'["4242424242424242"'):
        assert is_problem(await shop.post("/things", body), 422, "card_number_refused")


@pytest.mark.parametrize("number", NO_CARDS)
async def test_other_numbers_are_not_taken_for_cards(shop: Shop, number: str) -> None:
    assert (await shop.post("/things", {"name": "x", "attributes": {"note": number}})).status == 201


async def test_a_body_that_is_too_large_is_refused(shop: Shop) -> None:
    told = await shop.ask("POST", "/things", io.BytesIO(b"x" * 10_000_000), Content_Type="application/json", Authorization=f"Bearer {GOOD}")
    assert is_problem(told, 413, "body_too_large")


@pytest.mark.parametrize("deep", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
async def test_a_deep_body_is_no_failure_of_ours(shop: Shop, deep: bytes) -> None:
    told = await shop.post("/things", b'{"name": "x", "attributes": {"a": ' + deep + b"}}")
    assert told.status in (400, 422), told.content


@pytest.mark.parametrize("key", ["two words", "x" * 256, "ü"])
async def test_a_key_that_is_none_is_refused(shop: Shop, key: str) -> None:
    assert is_problem(await shop.post("/things", {"name": "x"}, Idempotency_Key=key), 422, "invalid_field")
    assert is_problem(await shop.get("/mine", Souk_Token=key), 422, "invalid_field")


async def test_a_public_read_has_an_etag_and_is_not_sent_twice(shop: Shop) -> None:
    first = await shop.get("/things")
    assert "public" in first.headers["cache-control"] and "must-revalidate" in first.headers["cache-control"]
    again = await shop.get("/things", If_None_Match=first.headers["etag"])
    assert (again.status, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "public" in again.headers["cache-control"]
    among_others = await shop.get("/things", If_None_Match=f'"x", {first.headers["etag"]}')
    assert among_others.status == 304
    assert (await shop.get("/things?limit=2", If_None_Match=first.headers["etag"])).status == 200


async def test_an_etag_that_a_handler_gives_stays(shop: Shop) -> None:
    assert (await shop.get(f"/things/{UUID(int=7)}")).headers["etag"] == '"7"'
    assert (await shop.get(f"/things/{new_id()}")).headers["etag"].startswith('W/"')


async def test_what_is_personal_or_failed_is_never_kept(shop: Shop) -> None:
    for path in ("/mine", "/admins", "/caller", "/fail/refused", "/fail/bug", "/nowhere"):
        told = await shop.get(path, Authorization=f"Bearer {ADMIN_TOKEN}")
        assert told.headers["cache-control"] == "private, no-store", path
        assert "etag" not in told.headers
    assert "86400" in (await shop.get("/assets")).headers["cache-control"]


async def test_a_list_is_walked_by_its_cursor(shop: Shop) -> None:
    found, path = [], "/things?limit=4"
    while True:
        page = (await shop.get(path)).body
        found.append(page["items"])
        if page["next"] is None:
            break
        path = f"/things?limit=4&cursor={page['next']}"
    assert found == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=1.5", "limit=-1", "cursor=" + "x" * 401])
async def test_a_page_has_its_bounds(shop: Shop, query: str) -> None:
    assert is_problem(await shop.get(f"/things?{query}"), 422, "invalid_request")


@pytest.mark.parametrize("cursor", ["x", "AAAA", "kQ", "ü", "%20", "////", "gaFhAQ"])
async def test_a_cursor_that_no_page_gave_is_refused(shop: Shop, cursor: str) -> None:
    assert is_problem(await shop.get(f"/things?cursor={cursor}"), 422, "invalid_field")


async def test_a_request_in_flight_is_answered_before_the_listener_stops(shop: Shop) -> None:
    answers = await asyncio.gather(*(shop.get("/things") for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
