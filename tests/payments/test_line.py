"""What a call to a provider tells about money when it fails, and how many are under way at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.ports import find_free_port

from souk.payments.gateways.gateway import Silent, Unreachable
from souk.payments.gateways.line import Line
from souk.payments.settings import Settings

QUICK = Settings(gateway_connect_s=5.0, gateway_timeout_s=0.3, gateway_in_flight=3)


class Provider:
    """Answers as its path says and counts who is there at once."""

    def __init__(self) -> None:
        self.there = self.most = 0
        self.url = f"http://127.0.0.1:{find_free_port()}"

    async def answer(self, request: web.Request) -> web.Response:
        self.there += 1
        self.most = max(self.most, self.there)
        await asyncio.sleep(float(request.query.get("s", "0")))
        self.there -= 1
        if request.path == "/hangs_up" and request.transport is not None:
            request.transport.close()
        return web.Response(status=int(request.query.get("status", "200")), body=await request.read())


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider, app = Provider(), web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(provider.url.rpartition(":")[2])).start()
    yield provider
    await runner.cleanup()


async def test_an_answer_is_an_answer_whatever_it_says(provider: Provider) -> None:
    line = Line(provider.url, QUICK)
    assert (await line.ask("POST", "/", {}, {"a": 1})).body == b'{"a":1}'
    assert (await line.ask("GET", "/?status=402", {})).status == 402
    assert (await line.ask("GET", "/?status=302", {})).status == 302, "nobody sends us elsewhere"


@pytest.mark.parametrize("path", ["/?status=500", "/?status=503", "/?s=1", "/hangs_up"])
async def test_nobody_knows(provider: Provider, path: str) -> None:
    with pytest.raises(Silent):
        await Line(provider.url, QUICK).ask("POST", path, {}, {})


async def test_no_money_has_moved(provider: Provider) -> None:
    with pytest.raises(Unreachable):
        await Line(provider.url, QUICK).ask("POST", "/?status=429", {}, {})
    with pytest.raises(Unreachable):
        await Line(f"http://127.0.0.1:{find_free_port()}", QUICK).ask("POST", "/", {}, {})


async def test_so_many_at_a_time(provider: Provider) -> None:
    line = Line(provider.url, Settings(gateway_in_flight=3))
    await asyncio.gather(*(line.ask("GET", "/?s=0.02", {}) for _ in range(30)))
    assert provider.most == 3


async def test_who_waits_too_long_for_a_turn_was_not_sent(provider: Provider) -> None:
    line = Line(provider.url, Settings(gateway_in_flight=1, gateway_connect_s=0.1, gateway_timeout_s=5.0))
    answers = await asyncio.gather(*(line.ask("GET", "/?s=0.3", {}) for _ in range(2)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Answer", "Unreachable"]
