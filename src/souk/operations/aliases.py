"""Other paths under which some operations answer too; the same handlers, marked deprecated in OpenAPI."""

import re
from collections.abc import Iterable
from copy import copy

from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

# Method, the other path, and the path that it stands for. {} is a path parameter, whatever it is called there.
ALIASES = (
    ("POST", "/auth/signup", "/auth/register"),
    ("POST", "/user/register", "/auth/register"),
    ("POST", "/user/login", "/auth/login"),
    ("PUT", "/user/{}", "/users/{}/preferences"),
    ("GET", "/product/all", "/products"),
    ("GET", "/product/{}", "/products/{}"),
    ("POST", "/product/create", "/products"),
    ("POST", "/order/create", "/orders"),
    ("GET", "/order/{}", "/orders/{}"),
    ("DELETE", "/order/{}", "/orders/{}"),
    ("GET", "/notification/{}", "/users/{}/notifications"),
    ("POST", "/notification/create", "/notifications"),
)

PARAMETER = re.compile(r"\{[^}]+\}")


def make_aliases(handlers: Iterable[BaseRouteHandler]) -> list[BaseRouteHandler]:
    """A deprecated twin for each alias whose operation is among the handlers."""
    known: dict[tuple[str, str], tuple[HTTPRouteHandler, str]] = {
        (method, PARAMETER.sub("{}", path)): (handler, path)
        for handler in handlers
        if isinstance(handler, HTTPRouteHandler)
        for path in handler.paths
        for method in handler.http_methods
    }
    twins: list[BaseRouteHandler] = []
    for method, alias, target in ALIASES:
        if (method, target) in known:
            handler, path = known[method, target]
            twins.append(make_twin(handler, PARAMETER.findall(path), alias))
    return twins


def make_twin(handler: HTTPRouteHandler, parameters: list[str], alias: str) -> HTTPRouteHandler:
    """The handler at another path, with its own parameters in the places of the alias's."""
    twin = copy(handler)
    twin.paths = {alias.format(*parameters)}
    twin.deprecated = True
    return twin
