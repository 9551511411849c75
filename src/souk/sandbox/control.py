"""The strings that a test pulls: moods imposed on the next calls, a processor that is down or slow, webhooks held back."""

from functools import partial

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from souk.sandbox.behaviours import MoodRequest
from souk.sandbox.charges import dispute_charge
from souk.sandbox.disputes import close_dispute, pass_time
from souk.sandbox.requests import Asking, read_body, show
from souk.sandbox.types import CloseRequest, DisputeRequest, TimeRequest
from souk.sandbox.world import World


@post("/")
async def post_control(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    world.moods.change(await read_body(request, MoodRequest))
    world.wake()
    return show(world.moods.show())


@post("/reset")
async def post_reset(world: NamedDependency[World]) -> Response[bytes]:
    """Forget the moods. The book stays: nothing can be taken out of it."""
    world.moods.reset()
    world.wake()
    return show(world.moods.show())


@get("/")
async def get_control(world: NamedDependency[World]) -> Response[bytes]:
    return show(world.moods.show())


@post("/charges/{charge_id:str}/disputes")
async def post_dispute(request: Asking, world: NamedDependency[World], charge_id: FromPath[str]) -> Response[bytes]:
    """Have a charge be disputed by the buyer's bank, at once or later."""
    asked = await read_body(request, DisputeRequest)
    planned = await world.writer.write(partial(dispute_charge, outbox=world.outbox, charge_id=charge_id, asked=asked))
    world.wake()
    return show({"id": planned.id}, 201)


@post("/disputes/{dispute_id:str}/close")
async def post_close(request: Asking, world: NamedDependency[World], dispute_id: FromPath[str]) -> Response[bytes]:
    """Have the bank decide a dispute that is open."""
    outcome = "won" if (await read_body(request, CloseRequest)).won else "lost"
    closed = await world.writer.write(partial(close_dispute, outbox=world.outbox, dispute_id=dispute_id, outcome=outcome))
    world.wake()
    return show(closed)


@post("/time")
async def post_time(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    """Have time pass for disputes: those that become due happen at once."""
    asked = await read_body(request, TimeRequest)
    await world.writer.write(partial(pass_time, seconds=asked.pass_s))
    world.wake()
    return show({"passed_s": asked.pass_s})


ROUTES = (post_control, post_reset, get_control, post_dispute, post_close, post_time)
