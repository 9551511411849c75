"""Payments over REST: who may, what is refused, and what an answer looks like."""

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.payments.conftest import listening
from tests.payments.money import fill_wallet, open_order, pay
from tests.ports import find_free_port

from souk.app import Shop
from souk.kit.auth import AUDIENCE, ISSUER, TOKEN_TYPE, PublicKey, TokenPolicy, Verifier
from souk.kit.ids import new_id
from souk.payments.database import db

pytestmark = pytest.mark.usefixtures("test_gateway")

KEY = Ed25519PrivateKey.generate()


class Client:
    """Somebody who calls the shop over HTTP."""

    def __init__(self, base: str, session: aiohttp.ClientSession, **headers: str) -> None:
        self.base, self.session, self.headers = base, session, headers

    def as_user(self, user_id: UUID, *roles: str, sellers: tuple[UUID, ...] = ()) -> "Client":
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(user_id), "sid": str(new_id()), "iat": time.time(), "exp": time.time() + 60}
        claims |= {"roles": list(roles), "sellers": [str(one) for one in sellers], "owned": list(range(len(sellers)))}
        token = jwt.encode(claims, KEY, "EdDSA", {"kid": "k", "typ": TOKEN_TYPE})
        return Client(self.base, self.session, Authorization=f"Bearer {token}")

    def as_guest(self, token: str) -> "Client":
        return Client(self.base, self.session, **{"Souk-Token": token})

    def with_key(self, key: str) -> "Client":
        return Client(self.base, self.session, **self.headers | {"Idempotency-Key": key})

    async def get(self, path: str) -> tuple[int, Any]:
        return await self.ask("GET", path)

    async def post(self, path: str, **body: object) -> tuple[int, Any]:
        return await self.ask("POST", path, body)

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self.session.request(method, self.base + path, json=body, headers=self.headers) as response:
            return response.status, await response.json(content_type=None)


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Client]:
    verifier = Verifier()
    verifier.learn(TokenPolicy((PublicKey("k", KEY.public_key().public_bytes_raw()),)))
    async with listening(find_free_port(), verifier) as base, aiohttp.ClientSession() as session:
        yield Client(base, session)


async def test_what_the_shop_offers(client: Client) -> None:
    status, offered = await client.get("/payment-methods")
    assert status == 200
    assert [(one["method"], one["gateway"], one["needs_token"]) for one in offered["items"]] == [
        ("card", "test", True),
        ("wallet", "wallet", False),
    ]


async def test_an_order_is_paid(client: Client) -> None:
    anna = new_id()
    order = await open_order(12_900, anna)
    hers = client.as_user(anna, "buyer")
    status, paid = await hers.post("/payments", order_id=str(order.id), method="card", token="tok_visa")
    assert (status, paid["status"], paid["captured"]) == (201, "captured", {"amount": 12_900, "currency": "EUR"})
    assert {"id", "order_id", "amount", "refunded", "created_at", "updated_at", "next_action"} <= paid.keys()
    assert await hers.get(f"/payments/{order.id}") == (200, paid)


async def test_a_guest_pays_with_the_token(client: Client) -> None:
    order = await open_order(guest_token="a-secret")
    body = {"order_id": str(order.id), "method": "card", "token": "tok_visa"}
    assert (await client.post("/payments", **body))[0] == 401
    assert (await client.as_guest("a-guess").post("/payments", **body))[0] == 404
    assert (await client.as_guest("a-secret").post("/payments", **body))[0] == 201
    assert (await client.as_guest("a-secret").get(f"/payments/{order.id}"))[1]["status"] == "captured"


async def test_anothers_payment_is_not_there(client: Client) -> None:
    order = await open_order(user_id=new_id())
    stranger = client.as_user(new_id(), "buyer", "seller")
    status, problem = await stranger.post("/payments", order_id=str(order.id), method="card", token="tok_visa")
    assert (status, problem["code"]) == (404, "payments.payment_not_found")
    for path in (f"/payments/{order.id}", f"/payments/{order.id}/refunds", f"/payments/{new_id()}"):
        assert (await stranger.get(path))[0] == 404
    assert (await stranger.post(f"/payments/{order.id}/refunds", reason="mine"))[0] == 403


async def test_the_same_key_is_the_same_attempt(client: Client) -> None:
    anna = new_id()
    order = await open_order(user_id=anna)
    hers = client.as_user(anna).with_key("a-key")
    body = {"order_id": str(order.id), "method": "card", "token": "tok_visa"}
    first = await hers.post("/payments", **body)
    assert await hers.post("/payments", **body) == first
    status, problem = await hers.post("/payments", **body | {"token": "tok_ok"})
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    status, problem = await client.as_user(anna).post("/payments", **body)
    assert (status, problem["code"]) == (409, "payments.already_paid")
    assert await db.value("SELECT count(*) FROM payments.attempt") == 1


async def test_an_expired_order(client: Client) -> None:
    anna = new_id()
    order = await open_order(user_id=anna, minutes=-1)
    status, problem = await client.as_user(anna).post("/payments", order_id=str(order.id), method="card", token="tok_visa")
    assert (status, problem["code"]) == (409, "payments.payment_expired")


BAD: list[dict[str, object]] = [
    {"order_id": "x"},
    {"method": "Card!"},
    {"method": ""},
    {"method": "x" * 33},
    {"method": 5},
    {"token": ""},
    {"token": "x" * 256},
    {"token": "4111 1111 1111 1111"},
    {"return_url": "javascript:alert(1)"},
    {"return_url": "https://x/" + "x" * 2000},
    {"return_url": "https://x/ y"},
    {"amount": {"amount": 1, "currency": "EUR"}},
    {"status": "captured"},
]


async def test_bad_input_writes_nothing(client: Client) -> None:
    anna = new_id()
    order = await open_order(user_id=anna)
    for wrong in BAD:
        body = {"order_id": str(order.id), "method": "card", "token": "tok_visa"} | wrong
        status, problem = await client.as_user(anna).post("/payments", **body)
        assert (status, problem["status"]) == (422, 422), wrong
    assert await db.value("SELECT count(*) FROM payments.attempt") == 0


async def test_a_refund_is_the_admins(client: Client) -> None:
    anna = new_id()
    order = await open_order(10_000, anna)
    await pay(order)
    admin = client.as_user(new_id(), "admin").with_key("a-key")
    body = {"reason": "broken", "amount": {"amount": 4_000, "currency": "EUR"}}
    status, made = await admin.post(f"/payments/{order.id}/refunds", **body)
    assert (status, made["status"], made["amount"]["amount"], made["to"]) == (201, "succeeded", 4_000, "origin")
    assert await admin.post(f"/payments/{order.id}/refunds", **body) == (status, made)
    assert (await admin.with_key("b").post(f"/payments/{order.id}/refunds", reason="rest"))[1]["amount"]["amount"] == 6_000
    status, problem = await admin.with_key("c").post(f"/payments/{order.id}/refunds", reason="more")
    assert (status, problem["code"], problem["refundable"]["amount"]) == (409, "payments.refund_too_large", 0)
    assert len((await client.as_user(anna).get(f"/payments/{order.id}/refunds"))[1]["items"]) == 2
    nothing, half = ({"amount": amount, "currency": "EUR"} for amount in (0, 1.5))
    for wrong in ({"amount": nothing}, {"amount": half}, {"to": "nowhere"}, {"reason": ""}):
        assert (await admin.with_key("d").post(f"/payments/{order.id}/refunds", **{"reason": "x"} | wrong))[0] == 422


async def test_the_wallet(client: Client) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(ben, 1)
    hers = client.as_user(anna)
    ten = {"amount": 1_000, "currency": "EUR"}
    assert (await client.get("/wallet"))[0] == 401
    assert (await hers.with_key("k").post("/wallet/deposits", amount=ten, method="card", token="tok_visa"))[1]["status"] == "captured"
    assert (await hers.with_key("k").post("/wallet/deposits", amount=ten, method="card", token="tok_visa"))[0] == 201
    assert (await hers.get("/wallet"))[1]["balances"][0]["balance"] == ten
    assert (await hers.post("/wallet/transfers", to_user_id=str(ben), amount={"amount": 400, "currency": "EUR"}))[0] == 201
    status, problem = await hers.post("/wallet/transfers", to_user_id=str(ben), amount=ten)
    assert (status, problem["code"]) == (409, "payments.insufficient_funds")
    status, page = await hers.get("/wallet/entries?currency=EUR&limit=1")
    assert [entry["amount"]["amount"] for entry in page["items"]] == [-400]
    rest = (await hers.get(f"/wallet/entries?currency=EUR&cursor={page['next']}"))[1]
    assert ([entry["amount"]["amount"] for entry in rest["items"]], rest["next"]) == ([1_000], None)
    assert (await hers.get("/wallet/entries?currency=EUR&cursor=nonsense"))[0] == 422
    assert (await hers.get("/wallet/entries?currency=euro"))[0] == 422
    for amount in (0, -1, 1.5, 2**63, "1e3"):
        status, _ = await hers.post("/wallet/deposits", amount={"amount": amount, "currency": "EUR"}, method="card", token="tok_visa")
        assert status == 422


async def test_webhooks_are_for_gateways_that_are_set_up(client: Client) -> None:
    status, problem = await client.post("/payments/webhooks/stripe", id="evt")
    assert (status, problem["code"]) == (404, "payments.gateway_unknown")


async def test_discrepancies_are_for_admins(client: Client) -> None:
    assert (await client.get("/payments/discrepancies"))[0] == 401
    assert (await client.as_user(new_id(), "seller").get("/payments/discrepancies"))[0] == 403
    assert (await client.as_user(new_id(), "admin").get("/payments/discrepancies"))[1] == {"items": [], "next": None}
    close = f"/payments/discrepancies/{new_id()}/close"
    assert (await client.post(close, reason="mine"))[0] == 401
    assert (await client.as_user(new_id(), "seller").post(close, reason="mine"))[0] == 403
    status, problem = await client.as_user(new_id(), "admin").post(close, reason="nobody's")
    assert (status, problem["code"]) == (404, "payments.discrepancy_not_found")


async def keep_discrepancies(count: int) -> None:
    told = "INSERT INTO payments.discrepancy (id, gateway, source, external_id, reason, told) VALUES ($1, 'sandbox', 'book', $2, 'x', '{}')"
    for number in range(count):
        await db.pool.execute(told, new_id(), str(number))


async def test_a_discrepancy_is_closed_for_a_reason(client: Client) -> None:
    await keep_discrepancies(3)
    anna = new_id()
    admin = client.as_user(anna, "admin")
    first, second, third = (await admin.get("/payments/discrepancies"))[1]["items"]
    assert (first["closed_at"], first["closed_by"], first["close_reason"]) == (None, None, None)
    status, closed = await admin.post(f"/payments/discrepancies/{second['id']}/close", reason="paid back by hand")
    assert (status, closed["closed_by"], closed["close_reason"]) == (200, str(anna), "paid back by hand")
    assert closed["closed_at"]
    again = await client.as_user(new_id(), "admin").post(f"/payments/discrepancies/{second['id']}/close", reason="another")
    assert again == (200, closed)

    async def ids(query: str) -> list[str]:
        return [one["id"] for one in (await admin.get(f"/payments/discrepancies{query}"))[1]["items"]]

    assert await ids("") == await ids("?status=open") == [first["id"], third["id"]]
    assert await ids("?status=closed") == [second["id"]]
    assert await ids("?status=all") == [first["id"], second["id"], third["id"]]
    page = (await admin.get("/payments/discrepancies?limit=1"))[1]
    assert await ids(f"?limit=1&cursor={page['next']}") == [third["id"]]
    assert (await admin.get("/payments/discrepancies?status=shut"))[0] == 422
    for body in ({}, {"reason": ""}, {"reason": "x" * 501}, {"reason": 5}, {"reason": "x", "closed_by": str(anna)}):
        assert (await admin.post(f"/payments/discrepancies/{first['id']}/close", **body))[0] == 422
    assert await ids("") == [first["id"], third["id"]]


async def test_the_api_describes_itself(client: Client) -> None:
    status, described = await client.get("/docs/openapi.json")
    assert status == 200
    assert {"/payments", "/payments/{payment_id}", "/wallet/deposits", "/payments/webhooks/{gateway}"} <= described["paths"].keys()
    for statement in ("/wallet/statement", "/sellers/{seller_id}/statements"):
        assert described["paths"][statement]["get"]["responses"]["200"]["content"].keys() == {"application/json", "text/csv"}


async def test_chargebacks(client: Client) -> None:
    order = await open_order()
    await pay(order)
    admin, path = client.as_user(new_id(), "admin"), f"/payments/{order.id}/chargebacks"
    body = {"amount": {"amount": 4_000, "currency": "EUR"}, "reason": "fraudulent", "evidence_due_at": "2030-01-01T00:00:00Z"}
    status, made = await admin.with_key("a-key").post(path, **body)
    assert (status, made["status"], made["amount"]["amount"], made["loss"]["amount"]) == (201, "open", 4_000, 0)
    assert await admin.with_key("a-key").post(path, **body) == (201, made), "the same key is the same chargeback"
    assert (await admin.with_key("a-key").post(path, **body | {"reason": "duplicate"}))[1]["code"] == "idempotency_key_reused"
    assert await admin.get(path) == (200, {"items": [made], "next": None})
    status, problem = await admin.post(path, **body | {"amount": {"amount": 6_001, "currency": "EUR"}})
    assert (status, problem["code"], problem["left"]) == (409, "payments.chargeback_too_large", {"amount": 6_000, "currency": "EUR"})
    for wrong in ({"reason": "He said: no!"}, {"evidence_due_at": "2030-01-01T00:00:00"}, {"external_id": ""}, {"surprise": 1}):
        assert (await admin.post(path, **body | wrong))[0] == 422
    closing = f"/payments/chargebacks/{made['id']}/close"
    status, closed = await admin.post(closing, won=True)
    assert (status, closed["status"]) == (200, "won")
    assert await admin.post(closing, won=True) == (200, closed)
    assert (await admin.post(closing, won=False))[1]["code"] == "payments.chargeback_decided"
    buyer = client.as_user(new_id(), "buyer")
    for status, _ in (await buyer.get(path), await buyer.post(path, **body), await buyer.post(closing, won=True)):
        assert status == 403
    [seller_id] = [row["seller_id"] for row in await db.pool.fetch("SELECT seller_id FROM payments.chargeback_share")]
    status, page = await admin.get(f"/sellers/{seller_id}/chargebacks?limit=1")
    assert (status, [(one["id"], one["status"], one["debited"]["amount"]) for one in page["items"]]) == (200, [(made["id"], "won", 3_600)])
    assert (await buyer.get(f"/sellers/{seller_id}/chargebacks"))[0] == 404
    assert (await client.get(f"/sellers/{seller_id}/chargebacks"))[0] == 401
