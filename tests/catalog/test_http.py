"""The catalogue's routes: what may be sent, what comes back, and to whom."""

import json

import aiohttp
import pytest
from tests.catalog.conftest import Web
from tests.catalog.goods import SELLER
from tests.catalog.test_images import picture, png

from souk.kit.ids import new_id

MUG = {"name": "Stoneware mug", "status": "published", "variants": [{"sku": "MUG", "prices": [{"amount": 1900, "currency": "USD"}]}]}
NDJSON = "application/x-ndjson"


def seller(web: Web) -> Web:
    return web.signed_in("seller", sells_for=(SELLER,))


async def list_mug(web: Web, **fields: object) -> dict:
    answer = await seller(web).ask("POST", "/products", MUG | fields)
    assert answer.status == 201, answer.body
    return answer.json


async def test_a_product_from_the_first_request_to_the_last(web: Web) -> None:
    created = await seller(web).ask("POST", "/products", MUG, Idempotency_Key="one")
    again = await seller(web).ask("POST", "/products", MUG, Idempotency_Key="two")
    assert (created.status, created.headers["etag"], created.headers["cache-control"]) == (201, '"1"', "private, no-store")
    assert (again.status, again.json["code"]) == (409, "catalog.sku_taken")
    product = created.json
    assert (product["price"], product["stock_available"], product["rating"]) == (
        {"amount": 1900, "currency": "USD"}, 0, {"average": None, "count": 0},
    )  # fmt: skip
    path = f"/products/{product['id']}"
    read = await web.ask("GET", path)
    assert (read.json, read.headers["etag"]) == (product, '"1"')
    assert "public" in read.headers["cache-control"]
    changed = await seller(web).ask("PATCH", path, {"name": "Tall mug"}, If_Match='"1"')
    assert (changed.status, changed.headers["etag"], changed.json["name"]) == (200, '"2"', "Tall mug")
    assert (await seller(web).ask("PATCH", path, {"name": "Flat mug"}, If_Match='"1"')).status == 412
    assert (await seller(web).ask("PATCH", path, {"name": "Flat mug"}, If_Match='W/"2"')).status == 412
    assert (await seller(web).ask("PATCH", path, {"name": "Flat mug"}, If_Match='"1", "2"')).status == 200
    assert (await seller(web).ask("DELETE", path, If_Match='"2"')).status == 412
    assert (await seller(web).ask("DELETE", path, If_Match="*")).status == 204
    assert (await web.ask("GET", path)).status == 404


async def test_who_may_write(web: Web) -> None:
    product = await list_mug(web)
    path = f"/products/{product['id']}"
    assert (await web.ask("POST", "/products", MUG)).status == 401
    assert (await web.signed_in("buyer").ask("POST", "/products", MUG)).status == 403
    assert (await web.signed_in("seller", sells_for=(new_id(),)).ask("PATCH", path, {"name": "Mine"})).status == 404
    assert (await web.signed_in("admin").ask("PATCH", path, {"name": "Checked"})).status == 200
    assert (await seller(web).ask("POST", "/categories", {"name": "Mine"})).status == 403
    assert (await web.ask("POST", "/products/import", b"{}", Content_Type=NDJSON)).status == 401
    assert (await web.ask("GET", "/products/export")).status == 401


async def test_a_draft_is_kept_by_nobody(web: Web) -> None:
    draft = await list_mug(web, status="draft")
    own = await seller(web).ask("GET", f"/products/{draft['id']}")
    assert (own.status, own.headers["cache-control"]) == (200, "private, no-store")
    assert (await web.ask("GET", f"/products/{draft['id']}")).status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": " "}, {"name": 1}, {"name": "x" * 301}, {"name": "a\0b"}, {"name": None}, {"colour": "blue"},
        {"status": "sold"}, {"variants": [{"sku": "A"}]}, {"variants": [{"sku": "", "prices": [{"amount": 1, "currency": "USD"}]}]},
        {"variants": [{"sku": "A/B", "prices": [{"amount": 1, "currency": "USD"}]}]},
        {"variants": [{"sku": "A\nB", "prices": [{"amount": 1, "currency": "USD"}]}]},
        {"variants": [{"sku": "A\tB", "prices": [{"amount": 1, "currency": "USD"}]}]},
        {"variants": [{"sku": "..", "prices": [{"amount": 1, "currency": "USD"}]}]},
        {"variants": [{"sku": "A", "prices": []}]}, {"variants": [{"sku": "A", "prices": [{"amount": -1, "currency": "USD"}]}]},
        {"variants": [{"sku": "A", "prices": [{"amount": 1.5, "currency": "USD"}]}]},
        {"variants": [{"sku": "A", "prices": [{"amount": 2**63, "currency": "USD"}]}]},
        {"variants": [{"sku": "A", "prices": [{"amount": 1, "currency": "usd"}]}]},
        {"variants": [{"sku": "A", "prices": [{"amount": 1, "currency": "CHF"}]}]},
        {"attributes": {"a": {"b": 1}}}, {"attributes": []}, {"category_id": "home"}, {"id": "1"}, {"seller_id": "me"},
        {"name": "4111 1111 1111 1111"}, {"variants": [{"sku": "A", "weight_g": -1, "prices": [{"amount": 1, "currency": "USD"}]}]},
    ],
)  # fmt: skip
async def test_a_field_that_is_wrong_is_named_and_nothing_is_written(web: Web, wrong: dict) -> None:
    answer = await seller(web).ask("POST", "/products", MUG | wrong)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (await seller(web).ask("GET", "/products?status=draft")).json["items"] == []
    assert (await web.ask("GET", "/products")).json["items"] == []


async def test_bodies_that_cannot_be_read(web: Web) -> None:
    who = seller(web)
    assert (await who.ask("POST", "/products", b"{", Content_Type="application/json")).status == 400
    assert (await who.ask("POST", "/products", b"<product/>", Content_Type="application/xml")).status == 415
    assert (await who.ask("POST", "/products/import", b"[]", Content_Type="application/json")).status == 415
    assert (await who.ask("POST", "/products/import")).status == 415


async def test_variants_are_part_of_their_product(web: Web) -> None:
    product = await list_mug(web)
    path = f"/products/{product['id']}/variants"
    added = await seller(web).ask("POST", path, {"sku": "MUG-L", "prices": [{"amount": 2500, "currency": "USD"}]})
    assert (added.status, added.headers["etag"]) == (201, '"1"')
    one = f"{path}/{added.json['id']}"
    assert (await web.ask("GET", one)).json == added.json
    assert [variant["sku"] for variant in (await web.ask("GET", path)).json["items"]] == ["MUG", "MUG-L"]
    assert (await seller(web).ask("PATCH", one, {"weight_g": 5}, If_Match='"1"')).json["weight_g"] == 5
    assert (await seller(web).ask("PATCH", one, {"sku": "OTHER"})).status == 422
    assert (await seller(web).ask("PATCH", one, {"weight_g": 6}, If_Match='"1"')).status == 412
    assert (await seller(web).ask("DELETE", one)).status == 204
    assert (await web.ask("GET", one)).status == 404
    last = await seller(web).ask("DELETE", f"{path}/{product['variants'][0]['id']}")
    assert (last.status, last.json["code"]) == (409, "catalog.not_sellable")


async def test_categories_are_the_admins_to_grow(web: Web) -> None:
    admin = web.signed_in("admin")
    home = (await admin.ask("POST", "/categories", {"name": "Home"})).json
    kitchen = await admin.ask("POST", "/categories", {"name": "Kitchen", "parent_id": home["id"]})
    assert kitchen.json["path"] == [home["id"], kitchen.json["id"]]
    assert (await web.ask("GET", f"/categories/{home['id']}")).json == home
    assert [one["name"] for one in (await web.ask("GET", "/categories")).json["items"]] == ["Home", "Kitchen"]
    assert [one["name"] for one in (await web.ask("GET", f"/categories?parent_id={home['id']}")).json["items"]] == ["Kitchen"]
    circle = await admin.ask("PATCH", f"/categories/{home['id']}", {"parent_id": kitchen.json["id"]})
    assert (circle.status, circle.json["code"]) == (409, "catalog.category_circle")
    assert (await admin.ask("PATCH", f"/categories/{home['id']}", {"name": "House"}, If_Match='"1"')).json["name"] == "House"
    assert (await admin.ask("DELETE", f"/categories/{home['id']}")).status == 409
    assert (await admin.ask("DELETE", f"/categories/{kitchen.json['id']}")).status == 204


async def test_lists_and_search_share_their_filters(web: Web) -> None:
    await list_mug(web, brand="Kumo", attributes={"colour": "blue"})
    cup = {"name": "Tin cup", "variants": [{"sku": "CUP", "prices": [{"amount": 700, "currency": "USD"}]}]}
    await list_mug(web, **cup)

    async def found(query: str) -> list[str]:
        answer = await web.ask("GET", query)
        assert answer.status == 200, answer.body
        return [item["name"] for item in answer.json["items"]]

    both = ["Tin cup", "Stoneware mug"]
    assert await found("/products") == await found("/products/search") == both
    for path in ("/products", "/products/search"):
        assert await found(f"{path}?q=mugs") == ["Stoneware mug"]
        assert await found(f"{path}?brand=kumo&seller={SELLER}&min_price=1900&max_price=1900&in_stock=false") == ["Stoneware mug"]
        assert await found(f"{path}?attributes=colour:blue") == ["Stoneware mug"]
        assert await found(f"{path}?attributes=colour:blue&attributes=size:L") == []
        assert await found(f"{path}?sort=-price") == both[::-1]
        assert await found(f"{path}?category=home") == await found(f"{path}?category={new_id()}") == []
    first = (await web.ask("GET", "/products?limit=1")).json
    assert (await web.ask("GET", f"/products?limit=1&cursor={first['next']}")).json["items"][0]["name"] == "Stoneware mug"
    assert [brand["name"] for brand in (await web.ask("GET", "/brands")).json["items"]] == ["Kumo"]
    assert "description" not in first["items"][0]


@pytest.mark.parametrize(
    "query",
    [
        "q=" + "x" * 201, "q=a%00b", "min_price=-1", "min_price=1.5", "max_price=99999999999999999999", "currency=dollar",
        "sort=best", "limit=0", "limit=101", "min_rating=9", "seller=me", "attributes=blue", "attributes=:blue", "attributes=a:%00",
        "cursor=rubbish", "status=sold", "in_stock=perhaps", "brand=%00", "category=%00",
    ],
)  # fmt: skip
async def test_a_filter_that_is_wrong_is_refused(web: Web, query: str) -> None:
    for path in ("/products", "/products/search"):
        answer = await web.ask("GET", f"{path}?{query}")
        assert answer.status in (400, 422), answer.body
        assert answer.headers["content-type"] == "application/problem+json"


async def test_words_in_the_path_are_no_ids(web: Web) -> None:
    assert (await web.ask("GET", "/products/search")).status == 200
    assert (await web.ask("GET", "/products/suggest?q=mug")).status == 200
    for path in ("/products/mug", f"/products/{new_id()}"):
        assert (await web.ask("GET", path)).status == 404


async def test_a_look_is_told_apart_from_a_read(web: Web) -> None:
    product = await list_mug(web)
    path = f"/products/{product['id']}/views"
    guest = await web.ask("POST", path)
    assert guest.json.get("user_id", "?") is None, guest.body
    view_id = str(new_id())
    buyer = web.signed_in("buyer")
    first = await buyer.ask("POST", path, {"id": view_id})
    assert (first.status, first.json["id"], first.json["product_id"]) == (201, view_id, product["id"])
    assert (await buyer.ask("POST", path, {"id": view_id})).json == first.json
    assert (await web.ask("POST", f"/products/{new_id()}/views")).status == 404


async def test_a_picture_is_the_body_or_a_part_of_a_form(web: Web) -> None:
    product = await list_mug(web)
    path = f"/products/{product['id']}/images"
    body = await seller(web).ask("POST", f"{path}?alt=A%20mug", picture("JPEG"), Content_Type="image/jpeg")
    assert (body.status, body.json["alt"]) == (201, "A mug")
    form = aiohttp.FormData()
    form.add_field("file", picture("PNG"), filename="../../../mug.php.png", content_type="image/png")
    assert (await seller(web).ask("POST", path, form)).status == 201
    images = (await web.ask("GET", path)).json["items"]
    assert len(images) == 2
    file = await web.ask("GET", images[0]["url"])
    assert (file.status, file.headers["content-type"]) == (200, "image/webp")
    assert "immutable" in file.headers["cache-control"]
    assert file.headers["x-content-type-options"] == "nosniff"
    assert (await web.ask("GET", f"/products/{product['id']}")).json["image_url"] == images[0]["url"]
    second = f"{path}/{images[1]['id']}"
    assert (await seller(web).ask("PATCH", second, {"position": 0, "alt": "Its handle"})).json["alt"] == "Its handle"
    assert (await seller(web).ask("DELETE", second)).status == 204
    assert (await seller(web).ask("DELETE", second)).status == 404


async def test_uploads_that_are_refused(web: Web) -> None:
    product = await list_mug(web)
    path = f"/products/{product['id']}/images"
    who = seller(web)
    for content, media_type, status in (
        (b"", "image/jpeg", 422),
        (b"<svg/>", "image/svg+xml", 415),
        (b"<svg/>", "image/png", 422),
        (png(30_000, 30_000), "image/png", 422),
        (b"x" * (9 * 1024 * 1024), "image/png", 413),
        (b"{}", "application/json", 415),
        (b"rubbish", "multipart/form-data", 422),
        (b"rubbish", "multipart/form-data; boundary=x", 422),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n', "multipart/form-data; boundary=x", 422),
    ):
        answer = await who.ask("POST", path, content, Content_Type=media_type)
        assert answer.status in (status, 400), (media_type, answer.status, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await web.signed_in("buyer").ask("POST", path, picture(), Content_Type="image/jpeg")).status == 404
    assert (await web.ask("GET", path)).json["items"] == []


async def test_an_import_reports_row_by_row_and_again_changes_nothing(web: Web) -> None:
    rows = [
        {"sku": "A", "name": "Mug", "prices": [{"amount": 1900, "currency": "USD"}]},
        {"sku": "B", "name": "No price"},
        {"sku": "C", "name": "Cup", "prices": [{"amount": 700, "currency": "USD"}], "colour": "blue"},
    ]
    body = b"\n".join(json.dumps(row).encode() for row in rows) + b"\n{"
    first = await seller(web).ask("POST", "/products/import", body, Content_Type=NDJSON)
    assert (first.status, first.headers["content-type"].partition(";")[0]) == (200, NDJSON)
    assert [(line["line"], line["result"], line.get("code")) for line in first.lines] == [
        (1, "created", None), (2, "refused", "no_price"), (3, "refused", "invalid"), (4, "refused", "malformed"),
    ]  # fmt: skip
    again = await seller(web).ask("POST", "/products/import", body, Content_Type=NDJSON)
    assert [line["result"] for line in again.lines] == ["unchanged", "refused", "refused", "refused"]
    assert [item["name"] for item in (await web.ask("GET", "/products")).json["items"]] == ["Mug"]


async def test_csv_goes_out_and_comes_in_again(web: Web) -> None:
    csv = b"sku,external_id,name,price_USD,price_EUR\r\nA,mug,=Mug,19.00,\r\nB,mug,,25.50,20\r\n"
    taken = await seller(web).ask("POST", "/products/import", csv, Content_Type="text/csv")
    assert [line["result"] for line in taken.lines] == ["created", "created"], taken.body
    out = await seller(web).ask("GET", "/products/export?format=csv")
    assert out.headers["content-type"].startswith("text/csv")
    assert b"'=Mug" in out.body
    assert b"25.50,20.00" in out.body
    back = await seller(web).ask("POST", "/products/import", out.body, Content_Type="text/csv; charset=utf-8")
    assert [line["result"] for line in back.lines] == ["unchanged", "unchanged"]
    lines = (await seller(web).ask("GET", "/products/export")).lines
    assert [(line["sku"], line["external_id"]) for line in lines] == [("A", "mug"), ("B", "mug")]
    assert (await web.signed_in("buyer").ask("GET", "/products/export")).status == 403


async def test_a_large_import_is_answered_while_it_runs_and_ends_where_it_cannot_be_read(web: Web) -> None:
    row = '{"sku":"SKU-%d","name":"Mug","prices":[{"amount":100,"currency":"USD"}]}\n'
    body = "".join(row % number for number in range(1200)).encode() + b"x" * (1024 * 1024 + 1)
    answer = await seller(web).ask("POST", "/products/import", body, Content_Type=NDJSON)
    assert answer.status == 200
    assert answer.lines[-1]["code"] == "catalog.unreadable_file"
    assert sum(line["result"] == "created" for line in answer.lines) == 1000
    refused = await seller(web).ask("POST", "/products/import", b"sku,sku\n1,2\n", Content_Type="text/csv")
    assert (refused.status, refused.json["code"]) == (422, "catalog.unreadable_file")
    assert (await web.signed_in("admin").ask("POST", "/products/import", b'{"sku":"A"}', Content_Type=NDJSON)).status == 422


async def test_the_document_describes_the_uploads(web: Web) -> None:
    document = (await web.ask("GET", "/docs/openapi.json")).json
    upload = document["paths"]["/products/{product_id}/images"]["post"]
    assert set(upload["requestBody"]["content"]) == {"image/jpeg", "image/png", "image/webp", "multipart/form-data"}
    assert set(document["paths"]["/products/import"]["post"]["requestBody"]["content"]) == {NDJSON, "text/csv"}
    assert set(document["paths"]["/products/export"]["get"]["responses"]["200"]["content"]) == {NDJSON, "text/csv"}
    names = {parameter["name"] for parameter in document["paths"]["/products/search"]["get"]["parameters"]}
    assert {"q", "category", "brand", "seller", "min_price", "max_price", "min_rating", "in_stock", "attributes", "sort", "cursor"} <= names
