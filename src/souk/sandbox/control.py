"""The strings that a test pulls: moods imposed on the next calls, a processor that is down or slow, webhooks held back."""

from litestar import Response, get, post
from litestar.di import NamedDependency

from souk.sandbox.behaviours import MoodRequest
from souk.sandbox.requests import Asking, read_body, show
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


ROUTES = (post_control, post_reset, get_control)
