"""The bad habits of the outside world, the tokens that ask for them, and the moods that a test imposes on it."""

from collections import deque
from enum import StrEnum
from threading import Lock
from typing import Annotated

from msgspec import Meta, Struct

from souk.sandbox.refusals import Refused


class Behaviour(StrEnum):
    OK = "ok"
    DECLINED = "declined"
    REQUIRES_ACTION = "requires_action"
    CHARGED_500 = "500_charged"
    TIMEOUT_CHARGED = "timeout_charged"
    TIMEOUT_NOT_CHARGED = "timeout_not_charged"
    DUPLICATE_WEBHOOK = "duplicate_webhook"
    WEBHOOK_BEFORE_RESPONSE = "webhook_before_response"
    WEBHOOK_LATE = "webhook_late"
    OUT_OF_ORDER = "out_of_order"
    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    FORGED_SIGNATURE = "forged_signature"
    ACCEPTED = "accepted"
    RETURNED = "returned"
    DISPUTED = "disputed"
    DISPUTED_WON = "disputed_won"
    DISPUTED_LOST = "disputed_lost"


class Operated(StrEnum):
    """The calls that a mood can be meant for."""

    CHARGE = "charge"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    CHECKOUT = "checkout"
    CANCEL = "cancel"
    TRANSFER = "transfer"
    LABEL = "label"
    VOID_LABEL = "void_label"
    SCAN = "scan"


# A bank may take its time, and may send back what it has taken; a card is charged or it is not.
OF_BANKS = (Behaviour.ACCEPTED, Behaviour.RETURNED)
TOKENS = {f"tok_{behaviour}": behaviour for behaviour in Behaviour if behaviour not in OF_BANKS}
TOKENS |= {"tok_visa": Behaviour.OK, "tok_timeout": Behaviour.TIMEOUT_CHARGED}
# Account numbers that ask for a habit; every other one is an honest account.
NUMBERS = {
    "000111111113": Behaviour.DECLINED,
    "000111111116": Behaviour.RETURNED,
    "000222222227": Behaviour.ACCEPTED,
    "000333333335": Behaviour.TIMEOUT_CHARGED,
    "000333333336": Behaviour.TIMEOUT_NOT_CHARGED,
    "000333333337": Behaviour.CHARGED_500,
    "000444444440": Behaviour.WRONG_AMOUNT,
}


class MoodRequest(Struct, frozen=True, forbid_unknown_fields=True):
    next: Behaviour | None = None
    on: Operated | None = None
    count: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    down: bool | None = None
    latency_ms: Annotated[int, Meta(ge=0, le=600_000)] | None = None
    hold_webhooks: bool | None = None


class MoodShown(Struct, frozen=True):
    next: tuple[Behaviour, ...]
    down: bool
    latency_ms: int
    hold_webhooks: bool


class Imposed(Struct):
    behaviour: Behaviour
    on: Operated | None
    left: int


class Moods:
    """What was imposed on the next calls. The writer's thread takes from it while the server's thread adds to it, hence the lock."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._imposed: deque[Imposed] = deque()
        self.down = False
        self.latency_ms = 0
        self.hold_webhooks = False

    def change(self, asked: MoodRequest) -> None:
        with self._lock:
            if asked.next is not None:
                self._imposed.append(Imposed(asked.next, asked.on, asked.count))
            self.down = self.down if asked.down is None else asked.down
            self.latency_ms = self.latency_ms if asked.latency_ms is None else asked.latency_ms
            self.hold_webhooks = self.hold_webhooks if asked.hold_webhooks is None else asked.hold_webhooks

    def reset(self) -> None:
        with self._lock:
            self._imposed.clear()
            self.down, self.latency_ms, self.hold_webhooks = False, 0, False

    def take(self, operated: Operated) -> Behaviour | None:
        """Use up one turn of the oldest mood that is meant for this call."""
        with self._lock:
            for imposed in self._imposed:
                if imposed.on in (None, operated):
                    imposed.left -= 1
                    if imposed.left == 0:
                        self._imposed.remove(imposed)
                    return imposed.behaviour
            return None

    def show(self) -> MoodShown:
        with self._lock:
            turns = tuple(imposed.behaviour for imposed in self._imposed for _ in range(min(imposed.left, 100)))
            return MoodShown(turns, self.down, self.latency_ms, self.hold_webhooks)


def read_token(token: str) -> Behaviour:
    behaviour = TOKENS.get(token)
    if behaviour is None:
        raise Refused(422, "token_unknown", "No such token")
    return behaviour
