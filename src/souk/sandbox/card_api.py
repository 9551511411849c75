"""The REST routes of the card processor and of its book."""

from functools import partial
from typing import Annotated

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from souk.sandbox.behaviours import Operated, read_token
from souk.sandbox.book import read_book
from souk.sandbox.calls import answer_call
from souk.sandbox.charges import capture_charge, create_charge, find_charges, read_charge, refund_charge, void_charge
from souk.sandbox.disputes import find_disputes, read_dispute
from souk.sandbox.requests import Asking, open_call, pay_url, read_body, show, tell
from souk.sandbox.types import ChargeRequest, MoveRequest
from souk.sandbox.webhooks import list_deliveries
from souk.sandbox.world import World

After = Annotated[int, QueryParameter(ge=0, le=2**63 - 1)]
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]


@post("/charges")
async def post_charge(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    asked = await read_body(request, ChargeRequest)
    call = open_call(request, Operated.CHARGE, asked, read_token(asked.token))
    work = partial(create_charge, outbox=world.outbox, asked=asked, pay_url=pay_url(world, request))
    return tell(await answer_call(world, call, work))


@get("/charges")
async def get_charges(world: NamedDependency[World], reference: FromQuery[str]) -> Response[bytes]:
    return show({"items": await world.writer.write(partial(find_charges, reference=reference))})


@get("/charges/{charge_id:str}")
async def get_charge(world: NamedDependency[World], charge_id: FromPath[str]) -> Response[bytes]:
    return show(await world.writer.write(partial(read_charge, charge_id=charge_id)))


@post("/charges/{charge_id:str}/capture")
async def post_capture(request: Asking, world: NamedDependency[World], charge_id: FromPath[str]) -> Response[bytes]:
    asked = await read_body(request, MoveRequest)
    work = partial(capture_charge, outbox=world.outbox, charge_id=charge_id, asked=asked)
    return tell(await answer_call(world, open_call(request, Operated.CAPTURE, asked), work))


@post("/charges/{charge_id:str}/void")
async def post_void(request: Asking, world: NamedDependency[World], charge_id: FromPath[str]) -> Response[bytes]:
    asked = await read_body(request, MoveRequest)
    work = partial(void_charge, outbox=world.outbox, charge_id=charge_id, asked=asked)
    return tell(await answer_call(world, open_call(request, Operated.VOID, asked), work))


@post("/charges/{charge_id:str}/refunds")
async def post_charge_refund(request: Asking, world: NamedDependency[World], charge_id: FromPath[str]) -> Response[bytes]:
    asked = await read_body(request, MoveRequest)
    work = partial(refund_charge, outbox=world.outbox, charge_id=charge_id, asked=asked)
    return tell(await answer_call(world, open_call(request, Operated.REFUND, asked), work))


@get("/disputes")
async def get_disputes(world: NamedDependency[World], charge_id: FromQuery[str]) -> Response[bytes]:
    return show({"items": await world.writer.write(partial(find_disputes, charge_id=charge_id))})


@get("/disputes/{dispute_id:str}")
async def get_dispute(world: NamedDependency[World], dispute_id: FromPath[str]) -> Response[bytes]:
    return show(await world.writer.write(partial(read_dispute, dispute_id=dispute_id)))


@get("/book")
async def get_book(world: NamedDependency[World], after: After = 0, limit: Limit = 200) -> Response[bytes]:
    return show(await world.writer.write(partial(read_book, after=after, limit=limit)))


@get("/deliveries")
async def get_deliveries(world: NamedDependency[World], after: After = 0, limit: Limit = 200) -> Response[bytes]:
    return show(await world.writer.write(partial(list_deliveries, after=after, limit=limit)))


ROUTES = (
    post_charge, get_charges, get_charge, post_capture, post_void, post_charge_refund, get_disputes, get_dispute, get_book, get_deliveries,
)  # fmt: skip
