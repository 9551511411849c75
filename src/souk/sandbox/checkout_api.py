"""The REST routes of the third party's payment app, for the merchant's side of it."""

from functools import partial

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from souk.sandbox.behaviours import Operated
from souk.sandbox.calls import answer_call
from souk.sandbox.checkouts import Place, cancel_checkout, create_checkout, find_checkouts, read_checkout, refund_checkout
from souk.sandbox.requests import Asking, open_call, pay_url, read_body, show, tell
from souk.sandbox.types import CheckoutRequest, MoveRequest
from souk.sandbox.world import World


@post("/checkouts")
async def post_checkout(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    asked = await read_body(request, CheckoutRequest)
    place = Place(pay_url(world, request), world.settings.checkout_ttl_s)
    work = partial(create_checkout, asked=asked, place=place)
    return tell(await answer_call(world, open_call(request, Operated.CHECKOUT, asked), work))


@get("/checkouts")
async def get_checkouts(world: NamedDependency[World], reference: FromQuery[str]) -> Response[bytes]:
    return show({"items": await world.writer.write(partial(find_checkouts, reference=reference))})


@get("/checkouts/{checkout_id:str}")
async def get_checkout(world: NamedDependency[World], checkout_id: FromPath[str]) -> Response[bytes]:
    return show(await world.writer.write(partial(read_checkout, checkout_id=checkout_id)))


@post("/checkouts/{checkout_id:str}/cancel")
async def post_cancel(request: Asking, world: NamedDependency[World], checkout_id: FromPath[str]) -> Response[bytes]:
    asked = await read_body(request, MoveRequest)
    work = partial(cancel_checkout, checkout_id=checkout_id)
    return tell(await answer_call(world, open_call(request, Operated.CANCEL, asked), work))


@post("/checkouts/{checkout_id:str}/refunds")
async def post_checkout_refund(request: Asking, world: NamedDependency[World], checkout_id: FromPath[str]) -> Response[bytes]:
    asked = await read_body(request, MoveRequest)
    work = partial(refund_checkout, outbox=world.outbox, checkout_id=checkout_id, asked=asked)
    return tell(await answer_call(world, open_call(request, Operated.REFUND, asked), work))


ROUTES = (post_checkout, get_checkouts, get_checkout, post_cancel, post_checkout_refund)
