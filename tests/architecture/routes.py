"""The routes that the shop serves when every context is in one process."""

from functools import cache

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from souk import app
from souk.app import Settings, Shop
from souk.kit.auth import Verifier
from souk.operations.docs import write_openapi


@cache
def make_api() -> Litestar:
    """The public app, with no database behind it."""
    app.import_contexts()
    front = app.make_public_app(Shop(Settings(), dict.fromkeys(app.CONTEXTS, "postgresql://nowhere"), {}), Verifier())
    return front.app


@cache
def find_routes() -> tuple[HTTPRouteHandler, ...]:
    """Every handler of ours, aliases included; what the framework adds for its documentation pages is not ours."""
    found = {id(handler): handler for route in make_api().routes for handler in getattr(route, "route_handlers", ())}
    return tuple(one for one in found.values() if one.fn.__module__.startswith("souk."))


@cache
def read_openapi() -> dict[str, dict[str, dict[str, object]]]:
    """The paths of the OpenAPI document."""
    document: dict[str, dict[str, dict[str, dict[str, object]]]] = msgspec.json.decode(write_openapi(make_api()))
    return document["paths"]
