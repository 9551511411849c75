"""What follows from an attempt: whether the event was delivered, when it is tried again, and when a webhook is not to be told any more."""

import random
from datetime import datetime, timedelta

import msgspec

from souk.webhooks.posting import Outcome
from souk.webhooks.settings import Settings
from souk.webhooks.types import DeliveryStatus, DisabledReason

GONE = 410
# Longer than this and an endpoint shares its places with those that fail.
SLOW_MS = 2000
LONGEST_WISH_S = 24 * 3600.0
# Endpoints that failed together do not come back together.
SPREAD = 0.1


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a delivery, after how many seconds its webhook has its next turn, and why it has none any more."""

    status: DeliveryStatus
    wait_s: float
    is_steady: bool
    disabled: DisabledReason | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the next of the webhook's deliveries may follow at once, by the same sender."""
        return self.status != "waiting" and self.is_steady and self.disabled is None


def judge(outcome: Outcome, tries: int, failing_since: datetime | None, now: datetime, policy: Settings) -> Verdict:
    """What follows from an attempt that comes after so many tries of the same delivery."""
    if outcome.is_delivered:
        return Verdict("delivered", 0.0, outcome.duration_ms <= SLOW_MS)
    if outcome.status == GONE:
        return Verdict("failed", 0.0, False, "gone")
    late = failing_since is not None and now - failing_since >= timedelta(days=policy.disable_after_days)
    disabled: DisabledReason | None = "failing" if late else None
    if tries >= len(policy.retries_s):
        return Verdict("failed", 0.0, False, disabled)
    pause_s = policy.retries_s[tries] * random.uniform(1, 1 + SPREAD)  # noqa: S311  it spreads, and guards nothing
    return Verdict("waiting", max(pause_s, min(outcome.retry_after_s, LONGEST_WISH_S)), False, disabled)
