"""A shop that lives, and somebody who joins it: register, sign in, stay signed in, leave."""

import asyncio
import time

import aiohttp
from tests.journeys.client import PASSWORD
from tests.journeys.conftest import Shop
from tests.waiting import until

from souk import app


async def test_the_shop_lives_and_is_ready(shop: Shop) -> None:
    visitor = shop.visitor()
    for path in ("/health/live", "/health/ready"):
        answer = await visitor.get(path)
        assert (answer.status, answer.content) == (200, b"ok")
    for process in shop.processes.processes.values():
        async with shop.session.get(f"{process.url}/health/ready") as ready:
            assert ready.status == 200, process.name


async def test_every_process_describes_the_whole_api(shop: Shop) -> None:
    told = [(await shop.visitor().get("/openapi.json")).ok["paths"].keys()]
    for process in shop.processes.processes.values():
        async with shop.session.get(f"{process.url}/openapi.json") as answer:
            told.append((await answer.json(content_type=None))["paths"].keys())
    assert all(paths == told[0] for paths in told)
    assert {"/auth/register", "/products", "/carts", "/orders", "/payments"} <= set(told[0])


async def test_register_log_in_refresh_log_out(shop: Shop) -> None:
    buyer = shop.visitor()
    assert (await buyer.get("/auth/me")).code == "unauthenticated"
    await buyer.register(name="Ada")
    assert buyer.user["roles"] == ["buyer"]
    assert (await buyer.get("/auth/me")).ok["email"] == buyer.user["email"]

    assert (await shop.visitor().post("/auth/login", {"email": buyer.user["email"], "password": "wrong"})).status == 401
    elsewhere = await shop.visitor().log_in(buyer.user["email"])
    assert elsewhere.user["id"] == buyer.user["id"]

    first = elsewhere.headers["Authorization"]
    await elsewhere.refresh()
    assert elsewhere.headers["Authorization"] != first
    assert (await elsewhere.get("/auth/me")).status == 200

    assert (await elsewhere.post("/auth/logout")).status == 204
    await elsewhere.until("/auth/me", lambda answer: answer.status == 401, within_s=5.0)
    assert (await elsewhere.post("/auth/refresh", {"refresh_token": elsewhere.refresh_token}, Authorization=None)).status == 401
    assert (await buyer.get("/auth/me")).status == 200


async def test_a_revoked_token_dies_in_every_process(shop: Shop) -> None:
    buyer = await shop.buyer()
    assert (await buyer.post("/auth/logout", {"everywhere": True})).status == 204

    async def is_void() -> bool:
        statuses = []
        for process in shop.processes.processes.values():
            async with shop.session.get(f"{process.url}/auth/me", headers=buyer.headers) as answer:
                statuses.append(answer.status)
        return set(statuses) == {401}

    await until(is_void, within_s=5.0)


async def test_the_same_registration_at_once_makes_one_account(shop: Shop) -> None:
    person = {"email": "twins@buyers.example", "password": PASSWORD}
    answers = await asyncio.gather(*(shop.visitor().post("/auth/register", person) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]


async def test_an_internal_call_without_a_token_is_refused(shop: Shop) -> None:
    for context in app.CONTEXTS:
        for path in ("read_outbox", "list_dead_letters", "no_such_function"):
            async with shop.session.post(f"{shop.processes.internal_url(context)}/internal/{context}/{path}", data=b"\x90") as answer:
                assert answer.status == 401
    for token in ("", "x", (await shop.buyer()).headers["Authorization"].removeprefix("Bearer ")):
        url = f"{shop.processes.internal_url('users')}/internal/users/get_users"
        async with shop.session.post(url, data=b"\x90", headers={"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == 401


async def test_internal_routes_are_not_at_the_front(shop: Shop) -> None:
    for path in ("/internal/users/get_users", "/internal/inventory/read_outbox"):
        assert (await shop.visitor().post(path, [])).status == 404


async def test_a_context_that_dies_is_missed_and_comes_back(shop: Shop) -> None:
    buyer = await shop.buyer()
    shop.kill("users")
    began = time.monotonic()
    if shop.wire:
        answer = await buyer.get("/auth/me")
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "unavailable", "1")
        assert (await shop.visitor().get("/products")).status == 200
    else:
        try:
            await buyer.get("/auth/me")
        except aiohttp.ClientConnectionError:
            pass
        else:
            raise AssertionError("the shop is dead and answers")
    assert time.monotonic() - began < 5.0
    shop.restart("users")
    await buyer.until("/auth/me", lambda answer: answer.status == 200, within_s=10.0)
    assert (await shop.buyer()).user["roles"] == ["buyer"]
