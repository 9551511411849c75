"""The REST routes of the bank: transfers and the statement of the merchant's account."""

from functools import partial

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from souk.sandbox.behaviours import NUMBERS, Behaviour, Operated
from souk.sandbox.calls import answer_call
from souk.sandbox.card_api import After, Limit
from souk.sandbox.requests import Asking, open_call, read_body, show, tell
from souk.sandbox.transfers import create_transfer, find_transfers, read_statement, read_transfer
from souk.sandbox.types import TransferRequest
from souk.sandbox.world import World


@post("/transfers")
async def post_transfer(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    asked = await read_body(request, TransferRequest)
    call = open_call(request, Operated.TRANSFER, asked, NUMBERS.get(asked.number, Behaviour.OK))
    work = partial(create_transfer, outbox=world.outbox, settings=world.settings, asked=asked)
    return tell(await answer_call(world, call, work))


@get("/transfers")
async def get_transfers(world: NamedDependency[World], reference: FromQuery[str]) -> Response[bytes]:
    return show({"items": await world.writer.write(partial(find_transfers, reference=reference))})


@get("/transfers/{transfer_id:str}")
async def get_transfer(world: NamedDependency[World], transfer_id: FromPath[str]) -> Response[bytes]:
    return show(await world.writer.write(partial(read_transfer, transfer_id=transfer_id)))


@get("/statement")
async def get_statement(world: NamedDependency[World], after: After = 0, limit: Limit = 200) -> Response[bytes]:
    return show(await world.writer.write(partial(read_statement, after=after, limit=limit)))


ROUTES = (post_transfer, get_transfers, get_transfer, get_statement)
