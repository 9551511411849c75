"""The edge of the public listener: who asks, what is refused before any handler, what may be kept, how it fails."""

from uuid import UUID

import pytest
from tests.kit.rest import ADMIN_TOKEN, Web, is_problem
from tests.kit.tokens import GOOD, SELLER, USER, claims, headers, seal

from souk.kit.ids import new_id

EXPIRED = seal(headers(), claims(exp=1.0))


async def test_who_asks_is_known_to_the_handler(web: Web) -> None:
    told = await web.get("/caller", Authorization=f"bearer {GOOD}", X_Request_Id="mine-7", Idempotency_Key="key-7", Souk_Token="guest-7")
    assert (told.body["user_id"], told.body["seller_ids"]) == (str(USER), [str(SELLER)])
    assert (told.body["request_id"], told.body["key"], told.body["guest_token"]) == ("mine-7", "key-7", "guest-7")
    assert (told.headers["x-request-id"], told.headers["x-content-type-options"]) == ("mine-7", "nosniff")
    assert told.headers["cache-control"] == "private, no-store"
    nobody = await web.get("/caller")
    assert (nobody.body["user_id"], nobody.body["key"]) == (None, None)


async def test_a_request_without_an_id_that_we_like_gets_one(web: Web) -> None:
    ids = {(await web.get("/caller", X_Request_Id=given)).headers["x-request-id"] for given in ("", "x" * 65, "two words", "ü")}
    assert len({UUID(one) for one in ids}) == 4


@pytest.mark.parametrize("token", ["", "Basic dTpw", "Bearer", "Bearer x", f"Bearer {EXPIRED}", f"Token {GOOD}"])
async def test_a_bad_token_is_refused_even_where_none_is_needed(web: Web, token: str) -> None:
    told = await web.get("/things", Authorization=token)
    assert is_problem(told, 401, "unauthenticated")
    assert told.headers["www-authenticate"] == "Bearer"


async def test_a_process_without_keys_cannot_tell_and_says_so(web: Web) -> None:
    web.verifier._has_learned = False
    told = await web.get("/mine", Authorization=f"Bearer {GOOD}")
    assert is_problem(told, 503, "unavailable")
    assert told.headers["retry-after"] == "1"
    assert (await web.get("/things")).status == 200


async def test_each_route_is_for_those_it_says(web: Web) -> None:
    user, admin, guest = {"Authorization": f"Bearer {GOOD}"}, {"Authorization": f"Bearer {ADMIN_TOKEN}"}, {"Souk_Token": "guest-7"}
    for path, statuses in (("/things", [200, 200, 200, 200]), ("/mine", [401, 200, 200, 200]), ("/admins", [401, 401, 403, 200])):
        assert [(await web.get(path, **who)).status for who in ({}, guest, user, admin)] == statuses


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
async def test_a_failure_is_a_problem(web: Web, how: str, status: int, code: str, more: dict[str, object]) -> None:
    told = await web.get(f"/fail/{how}")
    assert is_problem(told, status, code)
    assert more.items() <= told.body.items()
    assert b"secret" not in told.content and b"database of things" not in told.content
    assert told.headers.get("retry-after") == {429: "7", 503: "1"}.get(status)


async def test_what_is_not_there_or_not_meant_so_is_a_problem_too(web: Web) -> None:
    assert is_problem(await web.get("/nowhere"), 404, "not_found")
    assert is_problem(await web.get("/things/no-uuid"), 404, "not_found")
    assert is_problem(await web.ask("DELETE", "/things"), 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/words/a%00b", "/words/a?q=a%00b", "/things?cursor=%00", "/nowhere%00"])
async def test_a_nul_in_an_address_is_refused(web: Web, path: str) -> None:
    answer = await web.raw(b"GET %s HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n" % path.encode())
    assert b" 422 " in answer.split(b"\r\n")[0], answer


NO_TEXTS = ["/words/%ff%fe", "/words/a?q=%ff", "/words/%ed%a0%80", "/words/a?q=%ed%a0%80", "/%ff", "/words/a?q=%", "/words/%zz"]


@pytest.mark.parametrize("path", NO_TEXTS)
async def test_an_address_that_is_no_text_is_no_failure_of_ours(web: Web, path: str) -> None:
    answer = await web.raw(b"GET %s HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n" % path.encode())
    assert answer.split(b" ")[1] in (b"200", b"400", b"404", b"422"), answer
    if answer.split(b" ")[1] == b"200":
        answer.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("key", ["two words", "x" * 256, "ü"])
async def test_a_key_that_is_none_is_refused(web: Web, key: str) -> None:
    assert is_problem(await web.post("/things", {"name": "x"}, Idempotency_Key=key), 422, "invalid_field")
    assert is_problem(await web.get("/mine", Souk_Token=key), 422, "invalid_field")


async def test_a_public_read_has_an_etag_and_is_not_sent_twice(web: Web) -> None:
    first = await web.get("/things")
    assert "public" in first.headers["cache-control"] and "must-revalidate" in first.headers["cache-control"]
    again = await web.get("/things", If_None_Match=first.headers["etag"])
    assert (again.status, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "public" in again.headers["cache-control"]
    among_others = await web.get("/things", If_None_Match=f'"x", {first.headers["etag"]}')
    assert among_others.status == 304
    assert (await web.get("/things?limit=2", If_None_Match=first.headers["etag"])).status == 200


async def test_an_etag_that_a_handler_gives_stays(web: Web) -> None:
    assert (await web.get(f"/things/{UUID(int=7)}")).headers["etag"] == '"7"'
    assert (await web.get(f"/things/{new_id()}")).headers["etag"].startswith('W/"')


async def test_what_is_personal_or_failed_is_never_kept(web: Web) -> None:
    for path in ("/mine", "/admins", "/caller", "/fail/refused", "/fail/bug", "/nowhere"):
        told = await web.get(path, Authorization=f"Bearer {ADMIN_TOKEN}")
        assert told.headers["cache-control"] == "private, no-store", path
        assert "etag" not in told.headers
    assert "86400" in (await web.get("/assets")).headers["cache-control"]


async def test_a_list_is_walked_by_its_cursor(web: Web) -> None:
    found, path = [], "/things?limit=4"
    while True:
        page = (await web.get(path)).body
        found.append(page["items"])
        if page["next"] is None:
            break
        path = f"/things?limit=4&cursor={page['next']}"
    assert found == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=1.5", "limit=-1", "cursor=" + "x" * 401])
async def test_a_page_has_its_bounds(web: Web, query: str) -> None:
    assert is_problem(await web.get(f"/things?{query}"), 422, "invalid_request")


@pytest.mark.parametrize("cursor", ["x", "AAAA", "kQ", "ü", "%20", "////", "gaFhAQ"])
async def test_a_cursor_that_no_page_gave_is_refused(web: Web, cursor: str) -> None:
    assert is_problem(await web.get(f"/things?cursor={cursor}"), 422, "invalid_field")


async def test_an_answer_that_is_shown_as_a_page_can_do_nothing(web: Web) -> None:
    for path in ("/things", "/fail/bug", "/nowhere", "/words/a?q=4242424242424242"):
        told = await web.get(path)
        assert told.headers["x-content-type-options"] == "nosniff"
        assert told.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_the_documentation_pages_run_their_own_scripts_and_no_others(web: Web) -> None:
    page = await web.get("/docs")
    policy = page.headers["content-security-policy"]
    assert (page.status, page.headers["x-content-type-options"]) == (200, "nosniff")
    assert b"://" not in page.content.partition(b"<body>")[0]
    assert b"<script type='text/javascript'>" in page.content and "script-src 'self' 'unsafe-inline'" in policy
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
