"""Browser front ends of other origins: those that the shop names may call it, and no others; by default none."""

import io

import pytest
from tests.kit.rest import Told, Web, is_problem
from tests.kit.tokens import GOOD

from souk import app
from souk.kit.config import BadSettings, read_settings

OURS, OTHER = "https://shop.example", "https://evil.example"
named = pytest.mark.parametrize("web", [(OURS, "http://localhost:5173")], indirect=True)


async def preflight(web: Web, origin: str, method: str = "POST") -> Told:
    asked = {"Access_Control_Request_Method": method, "Access_Control_Request_Headers": "authorization,idempotency-key"}
    return await web.ask("OPTIONS", "/things", None, Origin=origin, **asked)


def words_of(told: Told, header: str) -> set[str]:
    return {word.strip().lower() for word in told.headers.get(header, "").split(",")} - {""}


def cors_headers_of(told: Told) -> set[str]:
    return {name for name in told.headers if name.startswith("access-control-")}


async def test_without_the_setting_no_browser_hears_of_it(web: Web) -> None:
    for told in (await web.get("/things", Origin=OURS), await preflight(web, OURS), await web.get("/fail/bug", Origin=OURS)):
        assert cors_headers_of(told) == set()
        assert "vary" not in told.headers


@named
async def test_a_preflight_allows_what_the_api_takes(web: Web) -> None:
    told = await preflight(web, OURS)
    assert (told.status, told.content) == (204, b"")
    assert told.headers["access-control-allow-origin"] == OURS
    assert words_of(told, "access-control-allow-methods") == {"get", "post", "put", "patch", "delete"}
    assert words_of(told, "access-control-allow-headers") >= {
        "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "souk-token",
    }  # fmt: skip
    assert told.headers["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in told.headers
    assert (await preflight(web, "http://localhost:5173", "DELETE")).headers["access-control-allow-origin"] == "http://localhost:5173"


@named
async def test_an_answer_is_readable_with_all_that_it_tells(web: Web) -> None:
    told = await web.get("/things", Origin=OURS)
    assert (told.status, told.headers["access-control-allow-origin"], told.headers["vary"]) == (200, OURS, "Origin")
    assert words_of(told, "access-control-expose-headers") == {"etag", "x-request-id", "souk-token", "retry-after", "location"}
    again = await web.get("/things", Origin=OURS, If_None_Match=told.headers["etag"])
    assert (again.status, again.headers["access-control-allow-origin"], again.headers["vary"]) == (304, OURS, "Origin")


@named
async def test_a_refusal_is_readable_wherever_it_is_made(web: Web) -> None:
    by_the_edge = await web.get("/things", Origin=OURS, Authorization="Bearer x")
    by_the_address = await web.get("/words/a?q=4242424242424242", Origin=OURS)
    by_the_framework = await web.post("/things", b"{", Origin=OURS)
    by_size = await web.ask("POST", "/files", io.BytesIO(b"x" * 10_000_000), Content_Type="text/csv", Origin=OURS)
    by_a_handler, by_a_bug = await web.get("/fail/often", Origin=OURS), await web.get("/fail/bug", Origin=OURS)
    nowhere = await web.get("/nowhere", Origin=OURS)
    refused = (by_the_edge, by_the_address, by_the_framework, by_size, by_a_handler, by_a_bug, nowhere)
    assert [told.status for told in refused] == [401, 422, 400, 413, 429, 500, 404]
    assert {told.headers.get("access-control-allow-origin") for told in refused} == {OURS}
    assert is_problem(by_size, 413, "body_too_large")


@named
@pytest.mark.parametrize("origin", [OTHER, "null", "*", f"{OURS}.evil.example", f"{OURS}:8443", "http://shop.example", ""])
async def test_another_origin_is_told_nothing_and_caches_keep_them_apart(web: Web, origin: str) -> None:
    for told in (await preflight(web, origin), await web.get("/things", Origin=origin)):
        assert cors_headers_of(told) == set()
        assert told.headers["vary"] == "Origin"


@named
async def test_who_asks_without_an_origin_is_served_as_ever(web: Web) -> None:
    told = await web.get("/things")
    assert (told.status, cors_headers_of(told), told.headers["vary"]) == (200, set(), "Origin")
    assert (await web.post("/things", {"name": "x"}, Authorization=f"Bearer {GOOD}")).status == 201


def test_origins_are_exact() -> None:
    read = read_settings(app.Settings, "SOUK", {"SOUK_CORS_ORIGINS": f"{OURS}, http://[::1]:3000"})
    assert read.cors_origins == (OURS, "http://[::1]:3000")
    for wrong in ("*", "https://*.shop.example", "https://shop.example/", "https://Shop.example", "shop.example", "null"):
        with pytest.raises(BadSettings, match="SOUK_CORS_ORIGINS"):
            read_settings(app.Settings, "SOUK", {"SOUK_CORS_ORIGINS": wrong})
