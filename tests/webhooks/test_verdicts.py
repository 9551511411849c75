"""What follows from an attempt: the plan of Standard Webhooks, in time that nobody has to wait for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from souk.webhooks.posting import Outcome
from souk.webhooks.settings import Settings
from souk.webhooks.verdicts import LONGEST_WISH_S, judge

POLICY = Settings()
NOW = datetime(2026, 5, 1, tzinfo=UTC)
PLAN_S = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]


def answered(status: int | None, duration_ms: int = 10, retry_after_s: float = 0.0) -> Outcome:
    return Outcome(status, None if status else "timeout", duration_ms, retry_after_s=retry_after_s)


def test_what_fails_is_tried_again_as_the_standard_proposes() -> None:
    verdicts = [judge(answered(500), tries, None, NOW, POLICY) for tries in range(10)]
    assert [one.status for one in verdicts] == ["waiting"] * 9 + ["failed"]
    for one, planned_s in zip(verdicts[:9], PLAN_S, strict=True):
        assert planned_s <= one.wait_s <= planned_s * 1.1
    assert sum(PLAN_S) < POLICY.disable_after_days * 86_400


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 304, 400, 401, 404, 408, 409, 422, 429, 500, 502, 503, 504, 599])
def test_nothing_but_2xx_is_delivered(status: int | None) -> None:
    verdict = judge(answered(status), 0, None, NOW, POLICY)
    assert (verdict.status, verdict.disabled, verdict.is_steady, verdict.goes_on) == ("waiting", None, False, False)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered_and_the_next_goes_on(status: int) -> None:
    verdict = judge(answered(status), 3, NOW - timedelta(days=99), NOW, POLICY)
    assert (verdict.status, verdict.disabled, verdict.wait_s, verdict.goes_on) == ("delivered", None, 0, True)


def test_who_is_slow_gives_the_place_to_others() -> None:
    verdict = judge(answered(200, 2_001), 0, None, NOW, POLICY)
    assert (verdict.status, verdict.is_steady, verdict.goes_on) == ("delivered", False, False)


def test_410_ends_it() -> None:
    verdict = judge(answered(410), 0, None, NOW, POLICY)
    assert (verdict.status, verdict.disabled, verdict.goes_on) == ("failed", "gone", False)


@pytest.mark.parametrize(("days", "disabled"), [(4.9, None), (5, "failing"), (50, "failing")])
def test_days_without_an_answer_end_it(days: float, disabled: str | None) -> None:
    verdict = judge(answered(None), 0, NOW - timedelta(days=days), NOW, POLICY)
    assert (verdict.status, verdict.disabled) == ("waiting", disabled)


@given(st.floats(0, 10**12), st.integers(0, 8))
def test_their_wish_to_be_left_alone_is_kept_within_bounds(wish_s: float, tries: int) -> None:
    verdict = judge(answered(429, retry_after_s=wish_s), tries, None, NOW, POLICY)
    assert min(wish_s, LONGEST_WISH_S) <= verdict.wait_s <= max(LONGEST_WISH_S * 1.1, wish_s)
    assert verdict.wait_s >= PLAN_S[tries]
    assert verdict.wait_s <= max(LONGEST_WISH_S, PLAN_S[tries] * 1.1)
