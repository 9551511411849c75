"""What the process tells about itself: JSON logs with the request's id, and metrics in Prometheus' format."""

import logging
import sys
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram

from souk.kit.callers import caller

FACTS_PUBLISHED = Counter("souk_facts_published_total", "Events that this process has announced", ["type"])
EVENTS_APPLIED = Counter("souk_events_applied_total", "Events applied by a consumer", ["consumer"])
EVENTS_PARKED = Counter("souk_events_parked_total", "Events set aside as dead letters", ["consumer"])
EVENT_LAG = Gauge("souk_event_lag_seconds", "Age of the oldest event that a consumer has not applied", ["consumer", "source"])
RELAY_LAG = Gauge("souk_relay_lag_seconds", "Age of the oldest event that the broker has not confirmed", ["source"])
FACTS_READ = Counter("souk_facts_read_total", "Events read for the consumers of this process, by way", ["source", "way"])
MESSAGES_REFUSED = Counter("souk_messages_refused_total", "Messages of the broker that told nothing", ["source", "reason"])
DEAD_LETTERS = Gauge("souk_dead_letters", "Events that a consumer could not apply, and those that wait behind them", ["consumer"])
REQUESTS = Counter("souk_http_requests_total", "Requests answered", ["method", "status"])
REQUESTS_SHED = Counter("souk_http_requests_shed_total", "Requests sent away because there was too much to do", ["method"])
REQUEST_SECONDS = Histogram(
    "souk_http_request_seconds", "Time to answer a request", buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
)
ERROR_SHARE = Gauge("souk_http_error_ratio", "Share of the answers of the last minutes that are 5xx; 0 if there were few")
AUDIT_FINDINGS = Gauge("souk_audit_findings", "Rows that break a rule, as the last audit found them", ["rule"])
CACHE_READS = Counter("souk_cache_reads_total", "Values looked for in the shared cache, by what came of it", ["kind", "outcome"])
CACHE_ERRORS = Counter("souk_cache_errors_total", "Times that the shared cache did not do what it was asked", ["reason"])
JOB_RUNS = Counter("souk_job_runs_total", "Runs of a job or a sweeper: done, again, failed, interrupted, unavailable", ["job", "outcome"])
JOBS_WAITING = Gauge("souk_jobs_waiting", "Jobs in the queue that nobody has begun", ["job"])
JOBS_FAILED = Gauge("souk_jobs_failed", "Jobs that have failed for good and wait for somebody to look at them", ["job"])
JOBS_DUE_AGE = Gauge("souk_jobs_due_age_seconds", "For how long the job that has been due longest has waited", ["job"])
SWEEPER_FAILURES = Gauge("souk_sweeper_failures", "How often a sweeper has failed, one time after the other", ["job"])
SCHEDULE_TICK = Gauge("souk_schedule_last_tick_seconds", "The last tick of a schedule that this process has seen, Unix time", ["schedule"])
DISK_FREE = Gauge("souk_disk_free_bytes", "Room on the disk of a folder", ["place"])
DISK_FREE_SHARE = Gauge("souk_disk_free_ratio", "Room on the disk of a folder, as a share of the whole", ["place"])
OLDEST_WRITER = Gauge(
    "souk_oldest_writer_seconds", "Age of the oldest open transaction that writes: no later event is final before its end", ["database"]
)
DATABASE_BYTES = Gauge("souk_database_bytes", "Size of a database", ["database"])


def configure_logging(level: str = "INFO", as_json: bool = True) -> None:
    """Send every log line to standard error: JSON for machines, or colours for a terminal."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_drop_meta, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _add_request_id(_logger: Any, _name: str, line: dict[str, Any]) -> dict[str, Any]:
    if request_id := caller().request_id:
        line["request_id"] = request_id
    return line


def _drop_meta(_logger: Any, _name: str, line: Any) -> Any:
    line.pop("_record", None)
    line.pop("_from_structlog", None)
    return line
