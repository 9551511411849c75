"""What browsers are told about the front ends of other origins that may call the API (CORS, in the Fetch standard)."""

from collections.abc import Mapping

Header = tuple[bytes, bytes]

METHODS = "GET, POST, PUT, PATCH, DELETE"
# What the API reads beyond what a browser may always send, and what it tells beyond what a script may always read.
TAKEN = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Souk-Token, X-Request-Id"
TOLD = "ETag, Location, Retry-After, Souk-Token, X-Request-Id"
REMEMBERED_S = 600


class Cors:
    """The origins that may call. Cookies and the like are never allowed: a front end sends its token itself."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def describe(self, asked: Mapping[bytes, bytes]) -> list[Header]:
        """The headers of any answer; none at all if no origin may call."""
        if not self._origins:
            return []
        # Also without an Origin, or with another: what a cache keeps for one origin is not to be given to the next.
        vary = (b"vary", b"Origin")
        origin = asked.get(b"origin", b"")
        if origin not in self._origins:
            return [vary]
        return [vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", TOLD.encode())]

    def is_preflight(self, method: str, asked: Mapping[bytes, bytes]) -> bool:
        """Whether a browser asks on behalf of an origin of ours what it may send."""
        return method == "OPTIONS" and b"access-control-request-method" in asked and asked.get(b"origin") in self._origins

    def permit(self) -> list[Header]:
        """The headers of the answer to a preflight, beside those of any answer."""
        return [
            (b"access-control-allow-methods", METHODS.encode()),
            (b"access-control-allow-headers", TAKEN.encode()),
            (b"access-control-max-age", str(REMEMBERED_S).encode()),
        ]
