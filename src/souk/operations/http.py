"""Health, metrics and dead letters over HTTP."""

from uuid import UUID

import msgspec
from litestar import MediaType, Request, Response
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from souk.kit import deadletters
from souk.kit.callers import caller
from souk.kit.calls import topology
from souk.kit.deadletters import DeadLetter
from souk.kit.errors import NotFound
from souk.kit.http import ADMIN, ADMIN_OR_SCRAPER, PUBLIC, Limit, Page, route
from souk.kit.readiness import check_readiness
from souk.kit.scraping import CONTENT_TYPE, may_scrape, write_metrics
from souk.operations import docs, event_pages, jobs


class Redriven(msgspec.Struct, frozen=True):
    """How many parked events were applied."""

    applied: int


@route("GET", "/health/live", PUBLIC, cache_control=None, media_type=MediaType.TEXT)
async def is_live() -> str:
    """The process runs."""
    return "ok"


@route("GET", "/health/ready", PUBLIC, cache_control=None, media_type=MediaType.TEXT)
async def is_ready() -> str:
    """The process can do its work: every database of its contexts answers, and is migrated. 503 if one is not."""
    await check_readiness()
    return "ok"


@route("GET", "/metrics", ADMIN_OR_SCRAPER, include_in_schema=False)
async def show_metrics(request: Request[object, object, State]) -> Response[bytes]:
    """Metrics in Prometheus' text format, for admins, and for programs with the token of SOUK_METRICS_TOKEN."""
    if not may_scrape(request.headers.get("authorization", "")):
        caller().principal.require_admin()
    return Response(write_metrics(), media_type=CONTENT_TYPE)


@route("GET", "/dead-letters", ADMIN)
async def list_dead_letters(limit: Limit = 50) -> Page[DeadLetter]:
    """Events that a consumer could not apply, with the reason, oldest first."""
    found: list[DeadLetter] = []
    for context in sorted(topology.hosted | topology.peers.keys()):
        found.extend(await deadletters.list_dead_letters(context, limit))
    return Page(tuple(sorted(found, key=lambda letter: letter.created_at)[:limit]))


@route("POST", "/dead-letters/{event_id:uuid}/redrive", ADMIN, status_code=200)
async def redrive_dead_letter(event_id: FromPath[UUID]) -> Redriven:
    """Apply a parked event again, and those of its aggregate that wait behind it."""
    applied = 0
    for context in sorted(topology.hosted | topology.peers.keys()):
        try:
            applied += await deadletters.redrive_dead_letter(context, event_id)
        except NotFound:
            continue
    if not applied:
        raise NotFound
    return Redriven(applied)


routes: tuple[BaseRouteHandler, ...] = (
    is_live,
    is_ready,
    show_metrics,
    list_dead_letters,
    redrive_dead_letter,
    *jobs.routes,
    *docs.routes,
    *event_pages.routes,
)
