"""What comes in a body: read strictly, and refused with a reason when it is not as it should be."""

import io

import pytest
from tests.kit.rest import Web, is_problem
from tests.kit.tokens import GOOD


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
async def test_a_field_that_is_not_as_it_should_be_is_named(web: Web, body: object, field: str) -> None:
    told = await web.post("/things", body)
    assert is_problem(told, 422, "invalid_request")
    assert field in str(told.body["errors"])


@pytest.mark.parametrize("body", [b"{", b"", b"{'name': 'x'}", b'{"name": "\xff"}', b'{"name": "x"} {}', b"\x01", b'{"name": "\\ud800"}'])
async def test_what_is_no_json_is_malformed(web: Web, body: bytes) -> None:
    assert is_problem(await web.post("/things", body), 400, "malformed_request")


OTHER_TYPES = ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x", ""]


@pytest.mark.parametrize("media_type", OTHER_TYPES)
async def test_another_media_type_than_json_is_refused(web: Web, media_type: str) -> None:
    assert is_problem(await web.post("/things", {"name": "x"}, Content_Type=media_type), 415, "unsupported_media_type")


JSON_TYPES = ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]


@pytest.mark.parametrize("media_type", JSON_TYPES)
async def test_json_by_any_of_its_names_is_taken(web: Web, media_type: str) -> None:
    assert (await web.post("/things", {"name": "x"}, Content_Type=media_type)).status == 201


async def test_a_route_may_take_another_media_type(web: Web) -> None:
    assert (await web.post("/files", b"a,b\n", Content_Type="text/csv; header=present")).body == {"size": 4}
    assert is_problem(await web.post("/things", b"a,b\n", Content_Type="text/csv"), 415, "unsupported_media_type")


async def test_a_request_without_a_body_has_no_media_type_to_be_refused(web: Web) -> None:
    for media_type in ("", "application/octet-stream", "application/x-www-form-urlencoded", "application/json"):
        assert (await web.ask("POST", "/maybe", None, Content_Type=media_type)).content == b"nothing"
    assert (await web.post("/maybe", {"name": "x"})).content == b"something"
    assert is_problem(await web.post("/maybe", {"name": "x"}, Content_Type="text/plain"), 415, "unsupported_media_type")


async def test_a_body_without_length_or_type_is_looked_at_like_any_other(web: Web) -> None:
    chunked = b"POST /%s HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n"
    card = b'{"name": "4242424242424242"}'
    for type_, status in ((b"", b" 415 "), (b"Content-Type: application/json\r\n", b" 422 ")):
        answer = await web.raw(chunked % (b"raw", type_, len(card), card))
        assert status in answer.split(b"\r\n")[0]


@pytest.mark.parametrize("body", [b'{"name": "a\\u0000b"}', b'{"name": "a\x00b"}', b'{"name": "x", "attributes": {"\\u0000": 1}}'])
async def test_a_nul_is_refused(web: Web, body: bytes) -> None:
    told = await web.post("/things", body)
    assert is_problem(told, 422, "invalid_field")


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
async def test_a_card_number_is_refused_wherever_it_stands(web: Web, number: str) -> None:
    for attributes in ({"note": f"my card: {number}, please"}, {number: 1}, {"deep": [{"er": number}]}):
        assert is_problem(await web.post("/things", {"name": "x", "attributes": attributes}), 422, "card_number_refused")
    assert is_problem(await web.get("/words/a?q=" + number.replace(" ", "+")), 422, "card_number_refused")


async def test_a_card_number_is_refused_however_it_is_written(web: Web) -> None:
    for body in (b'{"name": "\\u0034242424242424242"}', b'{"name": "x", "attributes": {"a": 4242424242424242}}', b'["4242424242424242"'):
        assert is_problem(await web.post("/things", body), 422, "card_number_refused")


@pytest.mark.parametrize("number", NO_CARDS)
async def test_other_numbers_are_not_taken_for_cards(web: Web, number: str) -> None:
    assert (await web.post("/things", {"name": "x", "attributes": {"note": number}})).status == 201


async def test_a_body_that_is_too_large_is_refused(web: Web) -> None:
    told = await web.ask("POST", "/things", io.BytesIO(b"x" * 10_000_000), Content_Type="application/json", Authorization=f"Bearer {GOOD}")
    assert is_problem(told, 413, "body_too_large")


@pytest.mark.parametrize("deep", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
async def test_a_deep_body_is_no_failure_of_ours(web: Web, deep: bytes) -> None:
    told = await web.post("/things", b'{"name": "x", "attributes": {"a": ' + deep + b"}}")
    assert told.status in (400, 422), told.content
