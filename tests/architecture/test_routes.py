"""Every route says who may use it and stands in the OpenAPI document; what strangers may do is a list that somebody has read."""

import re

import pytest
from litestar.handlers import HTTPRouteHandler
from tests.architecture.routes import find_routes, read_openapi
from tests.architecture.source import assert_none

from souk.kit.http import PUBLIC, SIGNED_IN, route

ACCESS = {"public", "signed_in", "admin", "guest_or_user", "signed_webhook", "ticket_or_user", "admin_or_scraper"}
# Routes for machines, outside the description on purpose.
UNDOCUMENTED = {
    "GET /docs/assets/{}", "GET /openapi.json", "GET /asyncapi.json", "GET /docs/events", "GET /metrics", "GET /", "GET /jobs/page",
    "GET /jobs/page/{}",
}  # fmt: skip
# What anybody may do without a token. Add to it only what is meant for strangers.
OPEN_WRITES = {
    "POST /auth/register", "POST /auth/signup", "POST /user/register", "POST /auth/login", "POST /user/login", "POST /auth/refresh",
    "POST /auth/logout", "POST /auth/password/forgot", "POST /auth/password/reset", "POST /auth/email/verify",
    "POST /carts", "POST /products/{}/views", "POST /quotes", "POST /shippings/rates", "POST /notifications/unsubscribe/{}",
}  # fmt: skip


def names_of(handler: HTTPRouteHandler) -> set[str]:
    """`GET /orders/{}`, with the names of parameters left out."""
    return {f"{method} {re.sub(r'{[^}]*}', '{}', path)}" for path in handler.paths for method in handler.http_methods}


def find_undeclared(handlers: tuple[HTTPRouteHandler, ...]) -> list[str]:
    return [f"{handler.fn.__qualname__}: declare it with souk.kit.http.route(method, path, ACCESS)"
            for handler in handlers if handler.opt.get("access") not in ACCESS]  # fmt: skip


def find_undocumented(handlers: tuple[HTTPRouteHandler, ...], documented: set[str]) -> list[str]:
    return [f"{name} is not in the OpenAPI document" for handler in handlers for name in names_of(handler) - documented - UNDOCUMENTED]


def find_open_writes(handlers: tuple[HTTPRouteHandler, ...]) -> list[str]:
    """Routes by which a stranger changes something, and which nobody has put on the list."""
    return [
        f"{name} is open to strangers: is that meant? Then add it to OPEN_WRITES"
        for handler in handlers
        if handler.opt.get("access") == PUBLIC.name
        for name in names_of(handler)
        if not name.startswith("GET ") and name not in OPEN_WRITES
    ]


def documented_names() -> set[str]:
    return {f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}" for path, methods in read_openapi().items() for method in methods}


def test_every_route_declares_who_may_use_it() -> None:
    assert len(find_routes()) > 100
    assert_none(find_undeclared(find_routes()))


def test_every_route_stands_in_the_document_and_the_other_way_round() -> None:
    assert_none(find_undocumented(find_routes(), documented_names()))
    served = {name for handler in find_routes() for name in names_of(handler)}
    assert documented_names() - served == set()


def test_what_strangers_may_change_is_known() -> None:
    assert_none(find_open_writes(find_routes()))
    served = {name for handler in find_routes() for name in names_of(handler)}
    assert OPEN_WRITES - served == set(), "these are gone: take them off the list"


def find_twins(ids: list[object]) -> list[object]:
    return [name for name in ids if ids.count(name) > 1]


def test_no_two_operations_have_one_id() -> None:
    ids: list[object] = [operation["operationId"] for methods in read_openapi().values() for operation in methods.values()]
    assert len(ids) > 100
    assert find_twins(ids) == []
    assert find_twins([*ids, ids[0]]) == [ids[0]] * 2


@route("DELETE", "/everything", PUBLIC)
async def delete_everything() -> None: ...


@route("GET", "/secret", SIGNED_IN)
async def get_secret() -> None: ...


@pytest.mark.parametrize("find", [lambda planted: find_undocumented(planted, documented_names()), find_open_writes])
def test_a_planted_violation_is_seen(find: object) -> None:
    assert isinstance(delete_everything, HTTPRouteHandler)
    assert len(find((delete_everything,))) == 1  # type: ignore[operator]


def test_a_route_without_access_is_seen() -> None:
    assert isinstance(get_secret, HTTPRouteHandler)
    assert find_undeclared((get_secret,)) == []
    get_secret.opt.pop("access")
    assert len(find_undeclared((get_secret,))) == 1
