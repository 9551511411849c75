"""Prometheus' rules and Grafana's dashboard: they are valid, name metrics that there are, and each rule fires when it is to."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.write_watching import PANELS, write_prometheus
from prometheus_client import REGISTRY
from tests.deploy.prometheus import promtool

from souk import app
from souk.deployment import PARTS
from souk.operations.alerts import make_alerts
from souk.operations.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())["groups"][0]["rules"]
BOARD = json.loads((DEPLOY / "grafana/souk.json").read_text())
METRIC = re.compile(r"\b(?:souk|process|up)(?:_[a-z0-9_]+)?\b(?=[\[{) ]|$)")
# What Prometheus itself knows of each process.
ITS_OWN = {"up"}


def find_metrics() -> set[str]:
    """The names of all series that a process of the shop tells."""
    app.import_contexts()
    names: set[str] = set()
    for metric in REGISTRY.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
        names |= {metric.name + suffix for suffix in suffixes}
    return names


def names_in(expression: str) -> set[str]:
    """The metrics that an expression is about."""
    return set(METRIC.findall(re.sub(r'"[^"]*"', '""', expression)))


def find_unknown(expressions: list[str], known: set[str]) -> list[str]:
    return sorted({name for expression in expressions for name in names_in(expression)} - known - ITS_OWN)


def test_every_metric_that_rules_and_dashboard_name_is_told_by_a_process() -> None:
    expressions = [rule["expr"] for rule in RULES] + [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    assert all(names_in(expression) for expression in expressions)
    assert find_unknown(expressions, find_metrics()) == []
    planted = ["rate(souk_planted_total[5m])", 'max(souk_planted{a="souk_b"}) > 0']
    assert find_unknown(planted, set()) == ["souk_planted", "souk_planted_total"]


def test_every_alert_of_the_shop_is_a_rule() -> None:
    alerts = make_alerts(Settings())
    assert [(rule["alert"], names_in(rule["expr"])) for rule in RULES[: len(alerts)]] == [(one.name, {one.metric_name}) for one in alerts]
    assert all(one.label == "" or f"by ({one.label})" in rule["expr"] for one, rule in zip(alerts, RULES, strict=False))


def test_prometheus_looks_at_every_part_and_the_dashboard_has_a_panel_for_each_thing() -> None:
    (scrape,) = yaml.safe_load(write_prometheus())["scrape_configs"]
    assert [(one["names"], one["port"]) for one in scrape["dns_sd_configs"]] == [([part.name], part.port) for part in PARTS]
    assert len({panel["title"] for panel in BOARD["panels"]}) == len(PANELS)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]}) == len(PANELS)


def test_prometheus_can_read_rules_and_configuration(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "prometheus", tmp_path / "prometheus")
    file = tmp_path / "prometheus/prometheus.yml"
    (tmp_path / "token").write_text("t" * 32)
    file.write_text(file.read_text().replace("/tmp/token", str(tmp_path / "token")))
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "prometheus/rules.yml", cwd=tmp_path)
    assert "SUCCESS" in promtool("check", "config", "prometheus/prometheus.yml", cwd=tmp_path)


SERIES = {
    "event_lag": ('souk_event_lag_seconds{consumer="shipping.plan", source="orders"}', "90", {"source": "orders"},
     "orders: Events wait to be applied: 90"),
    "open_transaction": ('souk_oldest_writer_seconds{database="souk"}', "90", {"database": "souk"},
     "souk: A transaction is open, and no later event is final: 90"),
    "relay_lag": ('souk_relay_lag_seconds{source="orders"}', "90", {"source": "orders"},
     "orders: Events wait for the broker: 90"),
    "dead_letters": ('souk_dead_letters{consumer="shipping.plan"}', "1", {"consumer": "shipping.plan"},
     "shipping.plan: Events could not be applied and were set aside: 1"),
    "audit_findings": ('souk_audit_findings{rule="I1.levels"}', "2", {"rule": "I1.levels"},
     "I1.levels: Rows break a rule of the books: 2"),
    "failed_jobs": ('souk_jobs_failed{job="users.sweep"}', "1", {"job": "users.sweep"},
     "users.sweep: Jobs have failed for good: 1"),
    "failing_sweeper": ('souk_sweeper_failures{job="users.sweep"}', "3", {"job": "users.sweep"},
     "users.sweep: Failures one after the other: 3"),
    "server_errors": ('souk_http_error_ratio{part="edge"}', "0.25", {},
     "Share of the answers that are 5xx: 25%"),
    "disk": ('souk_disk_free_ratio{place="home"}', "0.01", {"place": "home"},
     "home: Free room on the disk: 1%"),
    "process_down": ('up{job="souk", instance="orders:9008"}', "0", {"job": "souk", "instance": "orders:9008"},
     "orders:9008 does not answer"),
}  # fmt: skip
HARMLESS = {"disk": "0.5", "process_down": "1"}


@pytest.mark.parametrize("name", SERIES)
def test_a_rule_fires_when_its_number_is_beyond_the_limit_and_not_before(name: str, tmp_path: Path) -> None:
    series, value, labels, says = SERIES[name]
    rule = next(one for one in RULES if one["alert"] == name)
    shutil.copy(DEPLOY / "prometheus/rules.yml", tmp_path)
    for_s = int(rule["for"].removesuffix("s"))
    fired = [{"exp_labels": {**rule["labels"], **labels}, "exp_annotations": {"summary": says}}]
    case = {
        "interval": "15s",
        "input_series": [{"series": series, "values": f"{HARMLESS.get(name, '0')}x8 {value}x20"}],
        "alert_rule_test": [
            {"eval_time": "2m", "alertname": name, "exp_alerts": []},
            *([{"eval_time": "2m30s", "alertname": name, "exp_alerts": []}] if for_s else []),
            {"eval_time": "5m", "alertname": name, "exp_alerts": fired},
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [case]}))
    promtool("test", "rules", "test.yml", cwd=tmp_path)


def test_every_rule_has_a_story() -> None:
    assert {rule["alert"] for rule in RULES} - set(SERIES) == {"audit_missed"}
