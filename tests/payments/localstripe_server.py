"""localstripe on the loopback alone, with what Stripe does and localstripe does not.

    python -m tests.payments.localstripe_server PORT

Its own command listens on all interfaces and keeps what it knows in a file. A card that asks the buyer gets a way back; a request is
done once per Idempotency-Key; lists are asked for by time, newest first and in short pages; intents are searched by their reference.
A test can have answers lost (/_config/lose?path=) and keys forgotten (/_config/forget).
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from localstripe import resources
from localstripe.resources import Charge, List, PaymentIntent, Refund

PAGE_SIZE = 3
AT = [api[1] for api in resources.extra_apis].index("/v1/payment_intents/{id}/confirm")
answers: dict[str, tuple[int, bytes]] = {}
to_lose: list[str] = []


def confirm(id: str, return_url: str | None = None, **data: Any) -> Any:
    intent = PaymentIntent._api_confirm(id, **data)
    if intent.next_action:
        page = f"http://stripe.test/{id}"
        intent.next_action = {"type": "redirect_to_url", "redirect_to_url": {"url": page, "return_url": return_url}}
    return intent


def search(query: str) -> Any:
    reference = query.split("'")[3]
    found = List("/v1/payment_intents/search")
    intents = [one for key, one in resources.store.items() if key.startswith("payment_intent:")]
    found._list = [one for one in intents if one.metadata.get("reference") == reference]
    return found


def by_time(kind: Any) -> Callable[..., Any]:
    listed = kind._api_list_all

    def list_all(url: str, created: dict[str, str] | None = None, limit: str = "10", **data: Any) -> Any:
        page = listed(url, limit=min(int(limit), PAGE_SIZE), **data)
        since, until = int((created or {}).get("gte", 0)), int((created or {}).get("lte", 1 << 40))
        page._list = sorted((one for one in page._list if since <= one.created <= until), key=lambda one: -one.created)
        return page

    return list_all


@web.middleware
async def answer_once(request: web.Request, handler: Callable[[web.Request], Awaitable[web.Response]]) -> web.Response:
    key = request.headers.get("Idempotency-Key", "")
    if key in answers:
        status, body = answers[key]
        response = web.Response(status=status, body=body, content_type="application/json")
    else:
        response = await handler(request)
        if key and isinstance(response.body, bytes):
            answers[key] = response.status, response.body
    if request.method == "POST" and to_lose and request.path.endswith(to_lose[0]):
        to_lose.clear()
        await asyncio.sleep(5)
    return response


async def lose(request: web.Request) -> web.Response:
    to_lose.append(request.query["path"])
    return web.Response()


async def forget(request: web.Request) -> web.Response:
    answers.clear()
    return web.Response()


if __name__ == "__main__":
    resources.store.dump_to_disk = lambda: None
    resources.extra_apis[AT] = ("POST", "/v1/payment_intents/{id}/confirm", confirm)
    resources.extra_apis.append(("GET", "/v1/payment_intents/search", search))
    for kind in (Charge, Refund):
        kind._api_list_all = by_time(kind)
    from localstripe.server import app  # it takes its routes when it is imported

    app.middlewares.insert(0, answer_once)
    app.router.add_post("/_config/lose", lose)
    app.router.add_post("/_config/forget", forget)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
