"""The fast path: a request that brings ids in its path and perhaps a JSON body goes straight to its handler.

The framework routes, documents and validates every route, and answers whatever is wrong with a request. Most of what is right
needs nothing of it but the handler, at a quarter of the cost. So a request is taken off its hands only if nothing is left to
say against it; else the framework sees it as if it had come first.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from litestar import Litestar, Response
from litestar.exceptions import ClientException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from souk.kit.bodies import METHODS, decoder_of, inspect_text, read_media_type
from souk.kit.cors import Header
from souk.kit.errors import DomainError
from souk.kit.http import ACCESS, Access
from souk.kit.ids import read_id
from souk.kit.problems import PROBLEM_JSON, explain

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
ID_LENGTH = 36
# A body in more parts than this is a large one; the server gives a small one in one part and says in a second that it was all.
MOST_PARTS = 4
JSON = b"application/json"


class Answer(msgspec.Struct, frozen=True):
    """What goes back: status, headers and body."""

    status: int
    headers: list[Header]
    body: bytes


class FastRoute(msgspec.Struct, frozen=True):
    """A route that may be asked without the framework."""

    function: Callable[..., Awaitable[Any]]
    status: int
    access: Access
    ids: tuple[str, ...]  # its parameters, in the order of the path
    body: msgspec.json.Decoder[Any] | None
    headers: tuple[Header, ...]

    def read_body(self, media_type: str, parts: list[Message]) -> Any:
        """The body in the handler's type; raises when there is anything to say against it."""
        if media_type != "application/json" or parts[-1].get("more_body") or self.body is None:
            raise ValueError("for the framework to look at")
        body = b"".join([part.get("body", b"") for part in parts])
        inspect_text(body)
        return self.body.decode(body)

    async def answer(self, arguments: dict[str, Any]) -> Answer:
        """Run the handler; a refusal becomes the problem that the framework would have made of it."""
        try:
            result = await self.function(**arguments)
        except Exception as failure:
            problem = explain(failure)
            return encode(problem.content, problem.status, problem.headers, PROBLEM_JSON.encode())
        if isinstance(result, Response):
            return encode(result.content, result.status_code or self.status, result.headers, JSON, self.headers)
        return encode(result, self.status, {}, JSON, self.headers)


def encode(content: Any, status: int, headers: dict[str, str], media_type: bytes, more: tuple[Header, ...] = ()) -> Answer:
    """Content as JSON, with the headers that belong to it."""
    body = msgspec.json.encode(content)
    told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Answer(status, [(b"content-type", media_type), *told, *more, (b"content-length", b"%d" % len(body))], body)


FastCall = Callable[[], Awaitable[Answer]]


class FastRoutes:
    """All routes of an app that may be asked without the framework, by method and shape of path."""

    def __init__(self, app: Litestar) -> None:
        self._routes: dict[tuple[str, str], FastRoute] = {}
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                shape = "/".join(part if isinstance(part, str) else "{}" for part in ("", *route.path_components))
                for method, (handler, _) in route.route_handler_map.items():
                    if (fast := make_fast(route, handler)) is not None:
                        self._routes[str(method), shape] = fast

    def __len__(self) -> int:
        return len(self._routes)

    async def take(self, scope: Message, headers: dict[bytes, bytes], receive: Receive) -> tuple[FastCall | None, Receive]:
        """The call that answers a request; None if the framework is to see it, which then reads it from what is returned beside."""
        found = None if scope["query_string"] else self._find(scope["method"], scope["path"])
        if found is None:
            return None, receive
        route, arguments = found
        try:
            route.access.check()
            if route.body is not None:
                parts = [await receive()]
                while parts[-1].get("more_body") and len(parts) < MOST_PARTS:
                    parts.append(await receive())
                receive = replay(parts, receive)
                arguments["data"] = route.read_body(read_media_type(headers.get(b"content-type", b"")), parts)
        except (DomainError, ClientException, ValueError, RecursionError):
            return None, receive
        return partial(route.answer, arguments), receive

    def _find(self, method: str, path: str) -> tuple[FastRoute, dict[str, Any]] | None:
        if len(path) <= ID_LENGTH:
            route = self._routes.get((method, path))
            return None if route is None else (route, {})
        parts = path.split("/")
        route = self._routes.get((method, "/".join(["{}" if len(part) == ID_LENGTH else part for part in parts])))
        if route is None:
            return None
        try:
            ids = [read_id(part) for part in parts if len(part) == ID_LENGTH]
        except ValueError:
            return None
        return route, dict(zip(route.ids, ids, strict=True))


def replay(parts: list[Message], receive: Receive) -> Receive:
    """Receive with the messages that were read already put back in front."""
    put_back = iter(parts)

    async def receive_again() -> Message:
        return next(put_back, None) or await receive()

    return receive_again


def make_fast(route: HTTPRoute, handler: BaseRouteHandler) -> FastRoute | None:
    """The route without the framework; None if its handler wants or gives something that only the framework knows."""
    if not isinstance(handler, HTTPRouteHandler) or handler.opt.get("access") not in ACCESS or not gives_json(handler):
        return None
    parameters = handler.parsed_fn_signature.parameters
    names = tuple(definition.name for definition in route.path_parameters.values())
    if not all(map(is_plain, parameters.values())) or any(parameters[name].annotation is not UUID for name in names):
        return None
    # What is sent to a route that takes no body is inspected all the same.
    if "data" not in parameters and not handler.http_methods.isdisjoint(METHODS):
        return None
    kept: tuple[Header, ...] = ()
    if (cache_control := handler.cache_control) is not None:
        kept = ((b"cache-control", cache_control.to_header().encode()),)
    body = decoder_of(handler) if "data" in parameters else None
    return FastRoute(handler.fn, handler.status_code, ACCESS[handler.opt["access"]], names, body, kept)


def gives_json(handler: HTTPRouteHandler) -> bool:
    """Whether a handler answers with a value, or with a value and headers."""
    answer = handler.parsed_fn_signature.return_type
    if answer.annotation in (None, type(None)) or handler.has_sync_callable:
        return False
    if answer.is_subclass_of(Response):
        return answer.origin is Response and not answer.has_inner_subclass_of((str, bytes))
    return not answer.is_subclass_of((str, bytes))


def is_plain(parameter: FieldDefinition) -> bool:
    """Whether a parameter is an id of the path, the body, or of the query and may be left out."""
    kind = parameter.kwarg_definition
    return isinstance(kind, BodyKwarg | PathParameter) or (isinstance(kind, QueryParameter) and parameter.has_default)
