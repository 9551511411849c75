"""The REST routes of the carrier."""

from functools import partial

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from souk.sandbox.behaviours import Operated
from souk.sandbox.calls import answer_call
from souk.sandbox.parcels import advance, find_labels, offer, read_tracker, scan_parcel, sell_label, void_label
from souk.sandbox.requests import Asking, open_call, read_body, show, tell
from souk.sandbox.types import ClockRequest, LabelRequest, OfferRequest, ScanRequest, VoidRequest
from souk.sandbox.world import World


@post("/offers")
async def post_offers(request: Asking) -> Response[bytes]:
    return show({"items": offer(await read_body(request, OfferRequest))})


@post("/labels")
async def post_label(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    asked = await read_body(request, LabelRequest)
    work = partial(sell_label, outbox=world.outbox, asked=asked)
    return tell(await answer_call(world, open_call(request, Operated.LABEL, asked), work))


@get("/labels")
async def get_labels(world: NamedDependency[World], reference: FromQuery[str]) -> Response[bytes]:
    return show({"items": await world.writer.write(partial(find_labels, reference=reference))})


@post("/labels/{label_id:str}/void")
async def post_void_label(request: Asking, world: NamedDependency[World], label_id: FromPath[str]) -> Response[bytes]:
    work = partial(void_label, outbox=world.outbox, label_id=label_id)
    return tell(await answer_call(world, open_call(request, Operated.VOID_LABEL, VoidRequest()), work))


@get("/trackers/{tracking_number:str}")
async def get_tracker(world: NamedDependency[World], tracking_number: FromPath[str]) -> Response[bytes]:
    return show(await world.writer.write(partial(read_tracker, tracking_number=tracking_number)))


@post("/clock")
async def post_clock(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    """Put the carrier's clock forward."""
    asked = await read_body(request, ClockRequest)
    now = await world.writer.write(partial(advance, outbox=world.outbox, moods=world.moods, seconds=asked.advance_s))
    world.wake()
    return show({"now": now})


@post("/scans")
async def post_scan(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    """Let something happen to a parcel."""
    asked = await read_body(request, ScanRequest)
    told = await world.writer.write(partial(scan_parcel, outbox=world.outbox, moods=world.moods, asked=asked))
    world.wake()
    return show(told)


ROUTES = (post_offers, post_label, get_labels, post_void_label, get_tracker)
STRINGS = (post_clock, post_scan)
