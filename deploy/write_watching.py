"""What Prometheus and Grafana are told, out of the tables that the shop itself goes by: alerts (souk.operations.alerts) and parts."""

import json
from typing import Any

from souk.deployment import PARTS
from souk.operations.alerts import Alert, make_alerts
from souk.operations.settings import Settings

HEAD = "# Written by `make compose` out of src/souk/operations/alerts.py and src/souk/deployment.py."
# What one process cannot see of itself.
DOWN = """\
      - alert: process_down
        expr: up{job="souk"} == 0
        for: 60s
        labels: {severity: page}
        annotations:
          summary: "{{ $labels.instance }} does not answer"
      - alert: audit_missed
        expr: time() - max(souk_schedule_last_tick_seconds{schedule="notifications.audit_books"}) > 172800
        for: 600s
        labels: {severity: ticket}
        annotations:
          summary: "The books were last audited {{ $value | humanizeDuration }} ago"
"""
PROMETHEUS = f"""\
{HEAD}
global:
  scrape_interval: 15s
  evaluation_interval: 15s

rule_files: [rules.yml]

scrape_configs:
  - job_name: souk
    # Ours have a label "job", too: which job it is.
    honor_labels: true
    authorization:
      credentials_file: /tmp/token
    # Each container of a part that was scaled has an address of its own.
    dns_sd_configs:
%s\
    relabel_configs:
      - source_labels: [__meta_dns_name]
        target_label: part
"""
SOURCE = "      - {{names: [{name}], type: A, port: {port}, refresh_interval: 15s}}\n"
GRAFANA_SOURCE = f"""\
{HEAD}
apiVersion: 1
datasources:
  - name: Prometheus
    type: prometheus
    uid: souk
    url: http://prometheus:9090
    isDefault: true
"""
GRAFANA_BOARDS = f"""\
{HEAD}
apiVersion: 1
providers:
  - name: souk
    type: file
    options: {{path: /etc/grafana/dashboards}}
"""

# What the dashboard shows: a title, a unit, and expressions with what each line is called.
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Purchases a minute", "short", (('sum(rate(souk_facts_published_total{type="orders.OrderPlaced"}[5m])) * 60', "placed"),
                                     ('sum(rate(souk_facts_published_total{type="orders.OrderRejected"}[5m])) * 60', "rejected"))),
    ("Requests a second", "reqps", (("sum by (status) (rate(souk_http_requests_total[5m]))", "{{status}}"),
                                    ("sum(rate(souk_http_requests_shed_total[5m]))", "sent away"))),
    ("Time to answer", "s", tuple(
        (f"histogram_quantile({share}, sum by (le) (rate(souk_http_request_seconds_bucket[5m])))", f"p{share * 100:g}")
        for share in (0.5, 0.95, 0.99))),
    ("Share of 5xx", "percentunit", (("max by (part) (souk_http_error_ratio)", "{{part}}"),)),
    ("Age of the oldest event that is not applied", "s", (("max by (consumer, source) (souk_event_lag_seconds)", "{{consumer}}"),)),
    ("Age of the oldest event that the broker has not", "s", (("max by (source) (souk_relay_lag_seconds)", "{{source}}"),)),
    ("Dead letters", "short", (("max by (consumer) (souk_dead_letters) > 0", "{{consumer}}"),)),
    ("Rows that break a rule", "short", (("max by (rule) (souk_audit_findings) > 0", "{{rule}}"),)),
    ("Jobs that wait", "short", (("max by (job) (souk_jobs_waiting) > 0", "{{job}}"),
                                 ("max by (job) (souk_jobs_due_age_seconds) > 0", "{{job}}: seconds late"))),
    ("Jobs and sweepers that fail", "short", (("max by (job) (souk_jobs_failed) > 0", "{{job}}"),
                                              ("max by (job) (souk_sweeper_failures) > 0", "{{job}}: in a row"),
                                              ('sum by (job) (increase(souk_job_runs_total{outcome="again"}[5m])) > 0', "{{job}}: again"))),
    ("Events applied a second", "short", (("sum by (consumer) (rate(souk_events_applied_total[5m])) > 0", "{{consumer}}"),)),
    ("Events by way", "short", (("sum by (way) (rate(souk_facts_read_total[5m]))", "{{way}}"),
                                ("sum by (reason) (rate(souk_messages_refused_total[5m]))", "refused: {{reason}}"))),
    ("Cache", "short", (("sum by (outcome) (rate(souk_cache_reads_total[5m]))", "{{outcome}}"),
                        ("sum by (reason) (rate(souk_cache_errors_total[5m]))", "error: {{reason}}"))),
    ("Mail and other letters a minute", "short",
     (("sum by (channel, outcome) (rate(souk_letters_total[5m])) * 60", "{{channel}}: {{outcome}}"),)),
    ("Webhooks a minute", "short", (("sum by (outcome) (rate(souk_webhook_attempts_total[5m])) * 60", "{{outcome}}"),)),
    ("Size of the databases", "bytes", (("max by (database) (souk_database_bytes)", "{{database}}"),)),
    ("Room on disks", "percentunit", (("min by (place, instance) (souk_disk_free_ratio)", "{{instance}}: {{place}}"),)),
    ("Memory of processes", "bytes", (("process_resident_memory_bytes{job=\"souk\"}", "{{part}}"),)),
)  # fmt: skip


def write_rules() -> str:
    """Each alert of the shop as a rule."""
    alerts = make_alerts(Settings())
    return f"{HEAD}\ngroups:\n  - name: souk\n    rules:\n" + "".join(map(write_rule, alerts)) + DOWN


def write_rule(alert: Alert) -> str:
    """The worst of all processes, for as long as the shop itself would wait."""
    worst = "min" if alert.below else "max"
    by = f" by ({alert.label})" if alert.label else ""
    about = f"{{{{ $labels.{alert.label} }}}}: " if alert.label else ""
    value = {"%": "{{ $value | humanizePercentage }}", "GiB": "{{ $value | humanize1024 }}B"}.get(alert.unit, "{{ $value }}")
    return (
        f"      - alert: {alert.name}\n"
        f"        expr: {worst}{by} ({alert.metric_name}) {'<' if alert.below else '>'} {alert.limit:.12g}\n"
        f"        for: {alert.for_s:g}s\n"
        f"        labels: {{severity: page, metric: {alert.metric_name}}}\n"
        f"        annotations:\n"
        f'          summary: "{about}{alert.says}: {value}"\n'
    )


def write_prometheus() -> str:
    """Where the metrics of each part are."""
    return PROMETHEUS % "".join(SOURCE.format(name=part.name, port=part.port) for part in PARTS)


def write_dashboard() -> str:
    """The dashboard, two panels side by side."""
    panels = [make_panel(number, *panel) for number, panel in enumerate(PANELS)]
    board: dict[str, Any] = {
        "uid": "souk", "title": "Souk", "schemaVersion": 39, "version": 1, "editable": True, "refresh": "30s", "tags": ["souk"],
        "time": {"from": "now-6h", "to": "now"}, "timezone": "", "panels": panels,
        "annotations": {"list": []}, "templating": {"list": []},
    }  # fmt: skip
    return json.dumps(board, indent=2) + "\n"


def make_panel(number: int, title: str, unit: str, lines: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """A chart."""
    source = {"type": "prometheus", "uid": "souk"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": source, "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(lines)
        ],
    }


def write_watching() -> dict[str, str]:
    """Every file under deploy/ and what it is to hold."""
    return {
        "prometheus/rules.yml": write_rules(),
        "prometheus/prometheus.yml": write_prometheus(),
        "grafana/souk.json": write_dashboard(),
        "grafana/datasources.yml": GRAFANA_SOURCE,
        "grafana/dashboards.yml": GRAFANA_BOARDS,
    }
