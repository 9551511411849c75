"""Proves on a live shop that the books keep their rules (docs/invariants.md), and names the rows that do not."""

from souk.audit.checking import check_books
from souk.audit.nightly import schedule_audit
from souk.audit.reporting import Report, RuleReport, describe

__all__ = ["Report", "RuleReport", "check_books", "describe", "schedule_audit"]
