"""Refusals as application/problem+json (RFC 9457): the one place where they become REST answers."""

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from souk.kit.callers import caller
from souk.kit.cors import Header
from souk.kit.errors import DomainError, TooMany, Unavailable

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"

# The codes of refusals that the web framework makes before any function of ours is asked.
FRAMEWORK_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
}


class FieldProblem(msgspec.Struct, frozen=True):
    """One field that is not as it should be."""

    field: str
    reason: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457). `code` is stable; a refusal's own fields stand beside it."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str = ""
    errors: tuple[FieldProblem, ...] = ()


def make_problem(status: int, code: str, detail: str, errors: tuple[FieldProblem, ...] = ()) -> Problem:
    """A problem about the request that is being answered."""
    return Problem(f"urn:souk:{code}", code.replace("_", " ").replace(".", ": "), status, code, detail, caller().request_id, errors)


def encode_problem(status: int, code: str, detail: str) -> tuple[list[Header], bytes]:
    """The headers and the body of an answer that is a problem."""
    body = msgspec.json.encode(make_problem(status, code, detail))
    return [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body))], body


class Explained(msgspec.Struct, frozen=True):
    """A failure as it is told: the status, the problem with a refusal's own fields beside it, and headers."""

    status: int
    content: Any
    headers: dict[str, str] = {}


def explain(failure: Exception) -> Explained:
    """What a client is told about a failure; what is our own fault is logged and not told."""
    match failure:
        case DomainError():
            return _explain_refusal(failure)
        case Unavailable():
            log.warning("unavailable", extra={"reason": str(failure)})
            problem = make_problem(503, "unavailable", "The shop cannot answer this now; try again with the same Idempotency-Key.")
            return Explained(503, problem, {"Retry-After": str(failure.retry_after_s)})
        case HTTPException():
            return _explain_framework(failure)
        case _:
            log.error("bug", exc_info=failure)
            problem = make_problem(500, "internal_error", "Something went wrong on our side; the request id helps to find it.")
            return Explained(500, problem)


def _explain_refusal(refusal: DomainError) -> Explained:
    problem = make_problem(refusal.status, refusal.code, str(refusal))
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    if isinstance(refusal, TooMany):
        headers["Retry-After"] = str(refusal.retry_after_s)
    return Explained(refusal.status, msgspec.to_builtins(refusal.values()) | msgspec.to_builtins(problem), headers)


def _explain_framework(refused: HTTPException) -> Explained:
    """Routing, parsing and validation: malformed JSON is 400, a field out of range 422."""
    status = 422 if isinstance(refused, ValidationException) else refused.status_code
    errors = tuple(_read_errors(refused.extra)) if isinstance(refused, ValidationException) else ()
    detail = "; ".join(f"{error.field}: {error.reason}" for error in errors) or str(refused.detail)
    if status >= 500:
        log.error("http_exception", exc_info=refused)
        detail = "Something went wrong on our side."
    problem = make_problem(status, FRAMEWORK_CODES.get(status, "internal_error" if status >= 500 else "refused"), detail[:1000], errors)
    return Explained(status, problem, dict(refused.headers or {}))


def _answer(_request: Request[Any, Any, Any], failure: Exception) -> Response[Any]:
    told = explain(failure)
    return Response(told.content, status_code=told.status, media_type=PROBLEM_JSON, headers=told.headers)


def _read_errors(extra: Any) -> list[FieldProblem]:
    if not isinstance(extra, list):
        return []
    return [FieldProblem(str(item.get("key", "body")), str(item.get("message", ""))) for item in extra if isinstance(item, dict)]


HANDLERS: dict[int | type[Exception], Any] = dict.fromkeys((DomainError, Unavailable, HTTPException, Exception), _answer)
