"""Who is asking, for which request and until when: what travels beside every call."""

import hashlib
import hmac
from contextvars import ContextVar
from time import monotonic
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.errors import Forbidden, InvalidField, NotFound, Unauthenticated


class Principal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The person or program on whose behalf a call is made."""

    kind: Literal["anonymous", "user", "system"] = "anonymous"
    user_id: UUID | None = None
    roles: tuple[str, ...] = ()
    seller_ids: tuple[UUID, ...] = ()
    session_id: UUID | None = None
    owned_seller_ids: tuple[UUID, ...] = ()

    @property
    def is_admin(self) -> bool:
        return self.kind == "system" or "admin" in self.roles

    @property
    def subject(self) -> str:
        """One text per person, under which idempotency keys are kept."""
        return str(self.user_id) if self.user_id else self.kind

    def owns(self, user_id: UUID | None) -> bool:
        """Whether a row of this user is theirs. Nobody owns what has no owner."""
        return user_id is not None and self.user_id == user_id

    def sells_for(self, seller_id: UUID) -> bool:
        return seller_id in self.seller_ids

    def manages(self, seller_id: UUID | None) -> bool:
        """Whether what belongs to this seller, or to the platform if there is none, is theirs to change."""
        return self.is_admin or (seller_id is not None and self.sells_for(seller_id))

    def controls(self, seller_id: UUID) -> bool:
        """Whether they may do what only an owner of this seller may; a member of its team may not."""
        return self.is_admin or seller_id in self.owned_seller_ids

    def choose_seller(self, seller_id: UUID | None) -> UUID | None:
        """For which seller they act: the one that is named, or the only one that they sell for; None for an admin who names none.

        Raises Unauthenticated, Forbidden for who sells nothing, NotFound for another's seller, InvalidField if one has to be named.
        """
        if self.kind == "anonymous":
            raise Unauthenticated
        if self.is_admin:
            return seller_id
        if not self.seller_ids:
            raise Forbidden
        if seller_id is None and len(self.seller_ids) == 1:
            return self.seller_ids[0]
        if seller_id is None:
            raise InvalidField("seller_id", "is missing: say for which seller")
        if not self.sells_for(seller_id):
            raise NotFound
        return seller_id

    def require_user(self) -> UUID:
        """The signed-in user's id; raises Unauthenticated."""
        if self.user_id is None:
            raise Unauthenticated
        return self.user_id

    def require_admin(self) -> None:
        """Raises Unauthenticated for a stranger, Forbidden for anybody but an admin."""
        if self.kind == "anonymous":
            raise Unauthenticated
        if not self.is_admin:
            raise Forbidden


ANONYMOUS = Principal()
SYSTEM = Principal(kind="system")

NO_DEADLINE = float("inf")


class Caller(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who asks, under which request id, with which keys and until when (time.monotonic, seconds)."""

    principal: Principal = ANONYMOUS
    request_id: str = ""
    idempotency_key: str | None = None
    guest_token: str | None = None
    deadline: float = NO_DEADLINE
    inside: str | None = None  # the exposed function that is running, if one is
    traceparent: str | None = None  # of the trace that it belongs to (W3C), if one is under way

    def entering(self, function: str, deadline: float) -> "Caller":
        """The caller as a function sees it. An Idempotency-Key is for the function that was asked, not for those it asks."""
        key = None if self.inside else self.idempotency_key
        return Caller(self.principal, self.request_id, key, self.guest_token, deadline, function, self.traceparent)

    def holds(self, digest: bytes | None) -> bool:
        """Whether they brought the guest's token with this SHA-256. Without a digest nobody does."""
        if digest is None or self.guest_token is None:
            return False
        return hmac.compare_digest(digest, hashlib.sha256(self.guest_token.encode()).digest())

    def seconds_left(self) -> float:
        return self.deadline - monotonic()


NOBODY = Caller()
_caller: ContextVar[Caller] = ContextVar("souk_caller", default=NOBODY)


def caller() -> Caller:
    """Who is asking for what runs now."""
    return _caller.get()


class asking:
    """Whatever runs inside is asked for by `who`."""

    __slots__ = ("_token", "_who")

    def __init__(self, who: Caller) -> None:
        self._who = who

    def __enter__(self) -> None:
        self._token = _caller.set(self._who)

    def __exit__(self, *_: object) -> None:
        _caller.reset(self._token)


def set_caller(who: Caller) -> None:
    """Whatever runs from here to the end of this task is asked for by `who`."""
    _caller.set(who)
