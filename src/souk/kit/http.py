"""REST: routes that say who may use them, refusals as problem+json, pages of a list, cache headers, and the listener's edge."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

import litestar
import msgspec
from litestar import Request
from litestar.datastructures import CacheControlHeader
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.params import QueryParameter

from souk.kit.bodies import inspect_body
from souk.kit.callers import caller
from souk.kit.errors import InvalidField, Unauthenticated
from souk.kit.problems import PROBLEM_JSON, Problem

T = TypeVar("T")

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many items at the most")]
Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`next` of the page before")]


class Access(msgspec.Struct, frozen=True):
    """Who may use a route at all. What they may do with which row is decided in the exposed function."""

    name: str
    check: Callable[[], None]
    security: tuple[str, ...] = ()


def _anybody() -> None:
    return None


def _signed_in() -> None:
    caller().principal.require_user()


def _admin() -> None:
    caller().principal.require_admin()


def _guest_or_user() -> None:
    who = caller()
    if who.principal.user_id is None and who.guest_token is None:
        raise Unauthenticated


PUBLIC = Access("public", _anybody)
SIGNED_IN = Access("signed_in", _signed_in, ("bearer",))
ADMIN = Access("admin", _admin, ("bearer",))
# A user with an access token, or a guest with the token of their cart or order.
GUEST_OR_USER = Access("guest_or_user", _guest_or_user, ("bearer", "guest"))
# The caller proves itself otherwise, by a signature over the body.
SIGNED_WEBHOOK = Access("signed_webhook", _anybody)
# A user with an access token, or with a ticket in the address: the route redeems it.
TICKET_OR_USER = Access("ticket_or_user", _anybody, ("bearer",))
# An admin, or a program with the token of SOUK_METRICS_TOKEN: the route looks at it.
ADMIN_OR_SCRAPER = Access("admin_or_scraper", _anybody, ("bearer",))
ACCESS = {one.name: one for one in (PUBLIC, SIGNED_IN, ADMIN, GUEST_OR_USER, SIGNED_WEBHOOK, TICKET_OR_USER, ADMIN_OR_SCRAPER)}

PROBLEMS = {
    400: "The request cannot be read",
    401: "No valid access token",
    403: "Not allowed",
    404: "No such thing, or not yours",
    409: "The current state does not allow it",
    412: "It has changed since it was read",
    413: "The body is too large",
    415: "Another media type is due",
    422: "A field is not as it should be",
    429: "Too many attempts",
    503: "Not available now; try again",
}
DOCUMENTED = {
    status: ResponseSpec(data_container=Problem, description=text, media_type=PROBLEM_JSON, generate_examples=False)
    for status, text in PROBLEMS.items()
}

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


def route(method: Method, path: str, access: Access, **options: Any) -> Callable[[Callable[..., Any]], BaseRouteHandler]:
    """A REST route. `access` says who may use it; a route without it cannot be written."""

    # A public read may be kept by anyone who asks again whether it is still true (ETag); all else is personal.
    public = method == "GET" and access is PUBLIC
    options.setdefault("cache_control", CacheControlHeader(public=True, max_age=0, must_revalidate=True) if public else None)
    options.setdefault("status_code", {"POST": 201, "DELETE": 204}.get(method, 200))
    return litestar.route(
        path,
        http_method=method,
        opt={"access": access.name} | options.pop("opt", {}),
        security=[{scheme: []} for scheme in access.security],
        responses=DOCUMENTED | options.pop("responses", {}),
        **options,
    )


def or_text(media_type: str) -> type[Operation]:
    """As `operation_class` of a route: its answer may be a text of this media type, too, and the API's description says so."""

    @dataclass
    class OrText(Operation):
        def __post_init__(self) -> None:
            answer = (self.responses or {}).get("200")
            if isinstance(answer, OpenAPIResponse) and answer.content is not None:
                answer.content[media_type] = OpenAPIMediaType(Schema(type=OpenAPIType.STRING))

    return OrText


async def admit(request: Request[Any, Any, Any]) -> None:
    """Before any handler: whether the caller may use this route at all, and whether the body may be read.

    Not a guard of the framework: that would cost a copy of the request each time.
    """
    if (access := request.route_handler.opt.get("access")) is not None:
        ACCESS[access].check()
    await inspect_body(request)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list and where the next part begins."""

    items: tuple[T, ...]
    next: str | None = None


def make_page(rows: Sequence[T], limit: int, key: Callable[[T], Sequence[object]]) -> Page[T]:
    """A page out of up to `limit + 1` rows: the row too many only tells that there are more."""
    shown = tuple(rows[:limit])
    more = len(rows) > limit
    return Page(shown, write_cursor(key(shown[-1])) if more else None)


def write_cursor(key: Sequence[object]) -> str:
    """An opaque text for the sort key of the last row of a page."""
    return urlsafe_b64encode(msgspec.msgpack.encode(list(key))).decode().rstrip("=")


def read_cursor(cursor: str | None, kind: type[T]) -> T | None:
    """The sort key that write_cursor was given, as this tuple type; raises InvalidField if it is none of ours."""
    if cursor is None:
        return None
    try:
        return msgspec.msgpack.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind, strict=False)
    except (ValueError, msgspec.DecodeError) as broken:
        raise InvalidField("cursor", "is not one that a page gave") from broken
