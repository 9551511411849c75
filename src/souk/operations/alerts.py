"""What is an alert: a number of this process beyond a limit, for some time. Pure; Prometheus is given the same table as rules."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from prometheus_client import Gauge

from souk.kit import telemetry
from souk.notifications import Symptom
from souk.operations.settings import Settings

GIB = 1024.0**3

Unit = Literal["s", "%", "GiB", ""]


class Alert(msgspec.Struct, frozen=True):
    """A number, the label that says what it is about, and the limit beyond which somebody is to know of it."""

    name: str
    metric: Gauge
    label: str  # none: it is about the process as a whole, and called so
    limit: float
    for_s: float
    says: str
    unit: Unit = ""
    below: bool = False

    def is_beyond(self, value: float) -> bool:
        return value < self.limit if self.below else value > self.limit

    @property
    def metric_name(self) -> str:
        return next(iter(self.metric.describe())).name


def make_alerts(told: Settings) -> tuple[Alert, ...]:
    """The alerts of a shop with these settings."""
    late, patience_s = told.lag_s, told.patience_s
    alerts = (
        Alert("event_lag", telemetry.EVENT_LAG, "source", late, patience_s, "Events wait to be applied", "s"),
        Alert("open_transaction", telemetry.OLDEST_WRITER, "database", late, 0, "A transaction is open, and no later event is final", "s"),
        Alert("relay_lag", telemetry.RELAY_LAG, "source", late, patience_s, "Events wait for the broker", "s"),
        Alert("dead_letters", telemetry.DEAD_LETTERS, "consumer", 0, 0, "Events could not be applied and were set aside"),
        Alert("audit_findings", telemetry.AUDIT_FINDINGS, "rule", 0, 0, "Rows break a rule of the books"),
        Alert("failed_jobs", telemetry.JOBS_FAILED, "job", 0, 0, "Jobs have failed for good"),
        Alert("failing_sweeper", telemetry.SWEEPER_FAILURES, "job", 0, patience_s, "Failures one after the other"),
        Alert("server_errors", telemetry.ERROR_SHARE, "", told.error_share, 0, "Share of the answers that are 5xx", "%"),
        Alert("disk", telemetry.DISK_FREE_SHARE, "place", told.disk_share, patience_s, "Free room on the disk", "%", below=True),
        Alert("disk", telemetry.DISK_FREE, "place", told.disk_gib * GIB, patience_s, "Free room on the disk", "GiB", below=True),
    )
    if not told.database_gib:
        return alerts
    size = Alert("database_size", telemetry.DATABASE_BYTES, "database", told.database_gib * GIB, 0, "Size of the database", "GiB")
    return (*alerts, size)


def read_values(alert: Alert) -> dict[str, float]:
    """The numbers of this process by what they are about: the worst, where there are several."""
    found: dict[str, float] = {}
    worst = min if alert.below else max
    for sample in (one for metric in alert.metric.collect() for one in metric.samples):
        subject = sample.labels[alert.label] if alert.label else "requests"
        found[subject] = worst(sample.value, found.get(subject, sample.value))
    return found


def find_symptoms(read: Iterable[tuple[Alert, Mapping[str, float]]]) -> dict[tuple[Alert, str], Symptom]:
    """What is beyond its limit now."""
    return {
        (alert, subject): Symptom(alert.name, subject, describe(alert, value))
        for alert, values in read
        for subject, value in values.items()
        if alert.is_beyond(value)
    }


def choose_lasting(
    now: float, symptoms: Mapping[tuple[Alert, str], Symptom], since: Mapping[tuple[Alert, str], float]
) -> tuple[dict[tuple[Alert, str], float], Sequence[Symptom]]:
    """Since when each of them has been there without a break, and those that have lasted long enough: each alert and subject once."""
    begun = {one: since.get(one, now) for one in symptoms}
    lasting = {(one.alert, one.subject): one for key, one in symptoms.items() if now - begun[key] >= key[0].for_s}
    return begun, tuple(lasting.values())


def describe(alert: Alert, value: float) -> str:
    """In a sentence what is wrong."""
    return f"{alert.says}: {show(value, alert.unit)} (limit {show(alert.limit, alert.unit)})"


def show(value: float, unit: Unit) -> str:
    """A number as a person reads it."""
    match unit:
        case "%":
            return f"{value * 100:.3g} %"
        case "GiB":
            return f"{value / GIB:.3g} GiB"
    return f"{value:.0f} {unit}".strip()
