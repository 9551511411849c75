"""What is an alert, and what is none: numbers, limits and time, with nothing else."""

from collections.abc import Iterator

import pytest

from souk.kit.measuring import Answered, ErrorWindow
from souk.kit.telemetry import DEAD_LETTERS, EVENT_LAG
from souk.operations.alerts import GIB, Alert, choose_lasting, find_symptoms, make_alerts, read_values
from souk.operations.settings import Settings

ALERTS = make_alerts(Settings(database_gib=10))


@pytest.fixture
def lag() -> Iterator[None]:
    EVENT_LAG.labels("planted.read_orders", "orders").set(3)
    EVENT_LAG.labels("planted.read_users", "orders").set(90)
    yield
    EVENT_LAG.remove("planted.read_orders", "orders")
    EVENT_LAG.remove("planted.read_users", "orders")


def named(name: str, below_gib: bool = False) -> Alert:
    return next(one for one in ALERTS if one.name == name and (one.unit == "GiB") == below_gib)


def find(alert: Alert, **values: float) -> list[str]:
    return [one.text for one in find_symptoms([(alert, values)]).values()]


def test_a_number_beyond_its_limit_is_a_symptom() -> None:
    assert find(named("event_lag"), orders=60) == []
    assert find(named("event_lag"), orders=75.2) == ["Events wait to be applied: 75 s (limit 60 s)"]
    assert find(named("dead_letters"), a=0, b=1) == ["Events could not be applied and were set aside: 1 (limit 0)"]
    assert find(named("server_errors"), requests=0.05) == []
    assert find(named("server_errors"), requests=0.125) == ["Share of the answers that are 5xx: 12.5 % (limit 5 %)"]
    assert find(named("disk"), home=0.05) == []
    assert find(named("disk"), home=0.03) == ["Free room on the disk: 3 % (limit 5 %)"]
    assert find(named("disk", below_gib=True), home=GIB / 2) == ["Free room on the disk: 0.5 GiB (limit 1 GiB)"]
    assert find(named("database_size", below_gib=True), souk=11 * GIB) == ["Size of the database: 11 GiB (limit 10 GiB)"]
    assert "database_size" not in {one.name for one in make_alerts(Settings())}


def test_of_several_numbers_about_one_thing_the_worst_counts(lag: None) -> None:
    assert read_values(named("event_lag"))["orders"] == 90


def test_what_is_over_at_once_is_no_alert() -> None:
    late, dead = named("event_lag"), named("dead_letters")
    symptoms = find_symptoms([(late, {"orders": 70}), (dead, {"a": 1})])
    since, lasting = choose_lasting(100, symptoms, {})
    assert [one.alert for one in lasting] == ["dead_letters"]
    since, lasting = choose_lasting(159, symptoms, since)
    assert [one.alert for one in lasting] == ["dead_letters"]
    _, lasting = choose_lasting(160, symptoms, since)
    assert {one.alert for one in lasting} == {"event_lag", "dead_letters"}
    since, _ = choose_lasting(165, {}, since)
    _, lasting = choose_lasting(170, symptoms, since)
    assert [one.alert for one in lasting] == ["dead_letters"], "it was over meanwhile, and begins anew"


def test_a_disk_that_is_full_in_two_ways_is_one_alert() -> None:
    symptoms = find_symptoms([(named("disk"), {"home": 0.01}), (named("disk", below_gib=True), {"home": GIB / 9})])
    since, _ = choose_lasting(0, symptoms, {})
    assert len(choose_lasting(60, symptoms, since)[1]) == 1


def test_the_share_of_errors_is_of_the_last_minutes_and_of_enough_requests() -> None:
    window = ErrorWindow(300, 50)
    assert window.note(Answered(0, 9, 10)) == 0.0, "too few to say anything"
    assert window.note(Answered(10, 10, 100)) == pytest.approx(0.1)
    assert window.note(Answered(250, 10, 200)) == pytest.approx(0.05)
    assert window.note(Answered(400, 10, 300)) == 0.0, "the errors lie too far back"
    assert window.note(Answered(410, 40, 360)) == pytest.approx(30 / 260)


def test_the_metrics_of_alerts_are_told_of() -> None:
    DEAD_LETTERS.labels("planted.consumer").set(0)
    names = {one.metric_name for one in ALERTS}
    assert {"souk_event_lag_seconds", "souk_dead_letters", "souk_http_error_ratio", "souk_disk_free_bytes"} <= names
