"""Refusals as application/problem+json (RFC 9457): the one place where they become REST answers."""

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from souk.kit.callers import caller
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


def answer_refusal(_request: Request[Any, Any, Any], refusal: DomainError) -> Response[Any]:
    problem = make_problem(refusal.status, refusal.code, str(refusal))
    body = msgspec.to_builtins(refusal.values()) | msgspec.to_builtins(problem)
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    if isinstance(refusal, TooMany):
        headers["Retry-After"] = str(refusal.retry_after_s)
    return Response(body, status_code=refusal.status, media_type=PROBLEM_JSON, headers=headers)


def answer_silence(_request: Request[Any, Any, Any], silence: Unavailable) -> Response[Any]:
    log.warning("unavailable", extra={"reason": str(silence)})
    problem = make_problem(503, "unavailable", "The shop cannot answer this now; try again with the same Idempotency-Key.")
    return Response(problem, status_code=503, media_type=PROBLEM_JSON, headers={"Retry-After": str(silence.retry_after_s)})


def answer_framework(_request: Request[Any, Any, Any], refused: HTTPException) -> Response[Any]:
    """Routing, parsing and validation: malformed JSON is 400, a field out of range 422."""
    status = 422 if isinstance(refused, ValidationException) else refused.status_code
    errors = tuple(_read_errors(refused.extra)) if isinstance(refused, ValidationException) else ()
    detail = "; ".join(f"{error.field}: {error.reason}" for error in errors) or str(refused.detail)
    if status >= 500:
        log.error("http_exception", exc_info=refused)
        detail = "Something went wrong on our side."
    problem = make_problem(status, FRAMEWORK_CODES.get(status, "internal_error" if status >= 500 else "refused"), detail[:1000], errors)
    return Response(problem, status_code=status, media_type=PROBLEM_JSON, headers=dict(refused.headers or {}))


def answer_bug(_request: Request[Any, Any, Any], bug: Exception) -> Response[Any]:
    log.error("bug", exc_info=bug)
    problem = make_problem(500, "internal_error", "Something went wrong on our side; the request id helps to find it.")
    return Response(problem, status_code=500, media_type=PROBLEM_JSON)


def _read_errors(extra: Any) -> list[FieldProblem]:
    if not isinstance(extra, list):
        return []
    return [FieldProblem(str(item.get("key", "body")), str(item.get("message", ""))) for item in extra if isinstance(item, dict)]


HANDLERS: dict[int | type[Exception], Any] = {
    DomainError: answer_refusal,
    Unavailable: answer_silence,
    HTTPException: answer_framework,
    Exception: answer_bug,
}
