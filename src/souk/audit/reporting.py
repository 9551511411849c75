"""What an audit found: every rule, whether it holds, and the rows that break it."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from souk.kit.rules import MOST_SHOWN, Finding, Rule, Verdict


class RuleReport(msgspec.Struct, frozen=True):
    """A rule, whether it holds, how many rows break it, and the first of them."""

    id: str
    statement: str
    holds: bool
    count: int
    findings: tuple[Finding, ...]


class Report(msgspec.Struct, frozen=True):
    """Every rule that was checked, and how many of them are broken."""

    checked_at: datetime
    rules: tuple[RuleReport, ...]
    broken: int


def verdict_on(rule: Rule, findings: tuple[Finding, ...]) -> Verdict:
    """What becomes of a rule that these rows break."""
    return Verdict(rule.id, rule.statement, len(findings), findings[:MOST_SHOWN])


def make_report(checked_at: datetime, verdicts: Iterable[Verdict]) -> Report:
    """One line per rule; a rule that every context checks for itself is one rule."""
    by_id: dict[str, Verdict] = {}
    for verdict in verdicts:
        known = by_id.get(verdict.id, Verdict(verdict.id, verdict.statement))
        findings = (*known.findings, *verdict.findings)[:MOST_SHOWN]
        by_id[verdict.id] = Verdict(verdict.id, verdict.statement, known.broken + verdict.broken, findings)
    rules = tuple(RuleReport(one.id, one.statement, one.broken == 0, one.broken, one.findings) for one in by_id.values())
    return Report(checked_at, rules, sum(not rule.holds for rule in rules))


def describe(report: Report) -> Iterator[str]:
    """The report as lines for a person: what is broken with its rows, then the sum."""
    for rule in report.rules:
        if not rule.holds:
            yield f"BROKEN {rule.id}: {rule.statement} ({rule.count})"
            yield from (f"  {finding.key}: {msgspec.json.encode(finding.found).decode()}" for finding in rule.findings)
    yield f"{len(report.rules) - report.broken} rules hold, {report.broken} are broken"
