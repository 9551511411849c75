"""The sandbox as a web application, and the process that serves it until it is told to end."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from litestar import Litestar, Response, Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from uvicorn import Config, Server

from souk.sandbox import (
    approvals,
    bank_api,
    book,
    calls,
    card_api,
    carrier_api,
    charges,
    checkout_api,
    checkouts,
    control,
    disputes,
    parcels,
    post_api,
    post_book,
    transfers,
    webhooks,
)
from souk.sandbox.refusals import Refused
from souk.sandbox.requests import JSON, Asking, check_merchant, pass_door
from souk.sandbox.settings import SandboxSettings
from souk.sandbox.world import World

log = logging.getLogger("souk.sandbox")

Hook = Callable[[], Awaitable[None]]

API_ROUTES = [*card_api.ROUTES, *checkout_api.ROUTES, *bank_api.ROUTES, *carrier_api.ROUTES, *post_api.ROUTES]
SCHEMA = "".join(
    (
        book.SCHEMA, webhooks.SCHEMA, charges.SCHEMA, checkouts.SCHEMA, disputes.SCHEMA, transfers.SCHEMA, calls.SCHEMA, parcels.SCHEMA,
        post_book.SCHEMA,
    ),
)
# Longer than a client keeps a connection that it does not use: then it is the client that ends it.
NEXT_WITHIN_S = 75


class Serving(Server):
    """uvicorn's server, which leaves signals to `run`: the book is to be closed first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def create_app(settings: SandboxSettings) -> Litestar:
    world = World(settings, SCHEMA)
    return build_app(world, on_startup=[world.open], on_shutdown=[world.close])


async def run(settings: SandboxSettings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. What was answered is in the book even when neither comes."""
    refuse_taken_port(host, port)
    world = World(settings, SCHEMA)
    await world.open(host)
    server = Serving(
        Config(
            build_app(world), host=host, port=port, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
            timeout_keep_alive=NEXT_WITHIN_S,
        )
    )  # fmt: skip

    def end() -> None:
        world.release_waiting()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, end)
    try:
        await server.serve()
    finally:
        await world.close()


def refuse_taken_port(host: str, port: int) -> None:
    """Raise OSError when another process listens here: the server would log it and leave."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def build_app(world: World, on_startup: Sequence[Hook] = (), on_shutdown: Sequence[Hook] = ()) -> Litestar:
    async def pass_api(request: Asking) -> None:
        await pass_door(world)
        check_merchant(world, request)

    async def pass_page(request: Asking) -> None:
        await pass_door(world)

    async def pass_control(request: Asking) -> None:
        check_merchant(world, request)

    return Litestar(
        route_handlers=[
            Router("/v1", route_handlers=API_ROUTES, before_request=pass_api),
            Router("/control", route_handlers=[*control.ROUTES, *carrier_api.STRINGS, *post_api.STRINGS], before_request=pass_control),
            Router("/", route_handlers=approvals.ROUTES, before_request=pass_page),
            get_health,
        ],
        dependencies={"world": Provide(lambda: world, sync_to_thread=False)},
        exception_handlers={Refused: tell_refusal, HTTPException: tell_http, Exception: tell_failure},
        on_startup=on_startup,
        on_shutdown=on_shutdown,
        openapi_config=None,
    )


@get("/health")
async def get_health() -> dict[str, str]:
    return {"status": "ok"}


def tell_refusal(request: Asking, refused: Refused) -> Response[bytes]:
    return Response(refused.body(), status_code=refused.status, media_type=JSON)


def tell_http(request: Asking, failed: HTTPException) -> Response[bytes]:
    status = 422 if isinstance(failed, ValidationException) else failed.status_code
    return tell_refusal(request, Refused(status, "not_found" if status == 404 else "invalid", failed.detail))


def tell_failure(request: Asking, failure: Exception) -> Response[bytes]:
    log.error("%s %s failed", request.method, request.url.path, exc_info=failure)
    return tell_refusal(request, Refused(500, "internal_error", "Something went wrong on our side"))
