"""The fast path answers as the framework would have: what a request sees does not depend on the way that it took."""

import pytest
from litestar import Litestar
from tests.kit.rest import ADMIN_TOKEN, FAILURES, ROUTES, Told, Web
from tests.kit.tokens import GOOD

from souk.kit.fastpath import FastRoutes

THING = "/things/00000000-0000-7000-8000-000000000007"
OTHER = "/things/00000000-0000-7000-8000-000000000008"
BEARER = {"Authorization": f"Bearer {GOOD}"}
JSON = {"Content_Type": "application/json", **BEARER}

REQUESTS: list[tuple[str, str, bytes | None, dict[str, str]]] = [
    ("GET", "/caller", None, {}),
    ("GET", "/caller", None, BEARER | {"Idempotency_Key": "key-7"}),
    ("GET", "/things", None, {}),
    ("GET", "/things", None, BEARER),
    ("GET", "/things?limit=2", None, {}),
    ("GET", "/things?limit=0", None, {}),
    ("GET", "/things/", None, {}),
    ("GET", THING, None, {}),
    ("GET", OTHER, None, {}),
    ("GET", OTHER, None, {"If_None_Match": "*"}),
    ("GET", THING.replace("7000", "zzzz"), None, {}),
    ("GET", "/mine", None, {}),
    ("GET", "/mine", None, BEARER),
    ("GET", "/admins", None, BEARER),
    ("GET", "/admins", None, {"Authorization": f"Bearer {ADMIN_TOKEN}"}),
    ("POST", "/things", b'{"name": "x"}', JSON),
    ("POST", "/things", b'{"name": "x"}', {"Content_Type": "application/json"}),
    ("POST", "/things", b'{"name": "x"}', BEARER),
    ("POST", "/things", b'{"name": "x"}', JSON | {"Content_Type": "application/json; charset=utf-8"}),
    ("POST", "/things", b'{"name": "x"}', JSON | {"Content_Type": "text/plain"}),
    ("POST", "/things", b'{"name": ""}', JSON),
    ("POST", "/things", b'{"name": "4111 1111 1111 1111"}', JSON),
    ("POST", "/things", b'{"name": "a\\u0000b"}', JSON),
    ("POST", "/things", b"{", JSON),
    ("POST", "/things", b"\xff", JSON),
    ("POST", "/things", b"", JSON),
    ("POST", "/things", b'{"name": "x", "attributes": {"a": "%s"}}' % (b"y" * 300_000), JSON),
    ("DELETE", "/things", None, BEARER),
    *(("GET", f"/broken/00000000-0000-7000-8000-00000000000{place}", None, {}) for place in range(len(FAILURES))),
]


@pytest.mark.parametrize(("method", "path", "body", "headers"), REQUESTS, ids=lambda part: str(part)[:60])
async def test_both_ways_answer_alike(web: Web, slow_web: Web, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
    sent = {**headers, "X_Request_Id": "the-same"}
    quick, full = [await one.ask(method, path, body, **sent) for one in (web, slow_web)]
    assert what_is_told(quick) == what_is_told(full)


def what_is_told(answer: Told) -> tuple[int, dict[str, str], bytes]:
    # The order of a problem's fields is nobody's business, and the time of day passes.
    return answer.status, {name: value for name, value in answer.headers.items() if name != "date"}, bytes(sorted(answer.content))


def test_what_the_framework_alone_can_find_stays_with_it() -> None:
    fast = FastRoutes(Litestar(route_handlers=ROUTES, openapi_config=None))
    known = {(method, path) for method, path in fast._routes}
    assert {("GET", "/things"), ("GET", "/things/{}"), ("POST", "/things"), ("GET", "/caller"), ("GET", "/broken/{}")} <= known
    assert not {("POST", "/files"), ("GET", "/words/{}")} & known
