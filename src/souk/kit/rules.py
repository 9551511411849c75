"""Rules that the books keep: each is a statement that finds the rows which break it, and a context checks its own in one snapshot."""

from typing import Any

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import EXPOSED, ExposedFunction
from souk.kit.db import Database

# Rows shown of a broken rule; all are counted.
MOST_SHOWN = 100
# On a live shop a rule reads whole tables; one that takes longer than this is given up, and its context cannot be audited now.
LONGEST_RULE_S = 60
CHECK_TIMEOUT_S = 300.0

LIMIT_TIME = f"SET LOCAL statement_timeout = '{LONGEST_RULE_S}s'"
LIMIT_MEMORY = "SET LOCAL work_mem = '32MB'"

# What every context's schema keeps beside its own tables (kit/migrations).
FIND_EARLY_PARKED = """
    SELECT d.consumer || ' ' || d.event_id AS key,
           jsonb_build_object('parked', jsonb_build_array(d.xid, d.id), 'position', jsonb_build_array(p.xid, p.id)) AS found
    FROM {schema}.dead_letter AS d
    LEFT JOIN {schema}.consumer_position AS p USING (consumer, source)
    WHERE p.consumer IS NULL OR (d.xid, d.id) > (p.xid, p.id)
"""
FIND_REPEATED_FACTS = """
    SELECT min(type) || ' ' || event_id AS key, jsonb_build_object('times', count(*)) AS found
    FROM {schema}.outbox GROUP BY event_id HAVING count(*) > 1
"""


class Rule(msgspec.Struct, frozen=True):
    """A statement about the books, and the rows (key, found) that break it. A settled one holds when nothing is under way."""

    id: str
    statement: str
    sql: str = ""
    settled: bool = False


class Finding(msgspec.Struct, frozen=True):
    """A row that breaks a rule, and what was found there."""

    key: str
    found: Any


class Verdict(msgspec.Struct, frozen=True):
    """What became of a rule: how many rows break it, and the first of them."""

    id: str
    statement: str
    broken: int = 0
    findings: tuple[Finding, ...] = ()


class _Row(msgspec.Struct, frozen=True):
    key: str
    found: Any
    total: int


OF_EVERY_CONTEXT = (
    Rule("I8.parked", "A fact is parked only after its consumer's position has passed it", FIND_EARLY_PARKED),
    Rule("I8.facts", "A fact stands in the outbox once", FIND_REPEATED_FACTS),
)


def expose_rules(database: Database, own: tuple[Rule, ...]) -> None:
    """Make `check_rules` of this context callable by every process of the shop, for admins."""
    schema = database.context
    rules = own + tuple(msgspec.structs.replace(rule, sql=rule.sql.format(schema=schema)) for rule in OF_EVERY_CONTEXT)

    async def check_rules(settled: bool) -> tuple[Verdict, ...]:
        """What becomes of each rule of this context at one moment; with `settled` also of those that hold when nothing is under way.

        Reads only: it locks no row, and a transaction that writes nothing holds up no reader of facts. Raises Forbidden.
        """
        caller().principal.require_admin()
        verdicts: list[Verdict] = []
        async with database.transaction(isolation="repeatable_read", readonly=True) as tx:
            await tx.run(LIMIT_TIME)
            await tx.run(LIMIT_MEMORY)
            for rule in rules:
                if rule.settled and not settled:
                    continue
                rows = await tx.all(_Row, count_and_cut(rule.sql))
                findings = tuple(Finding(row.key, row.found) for row in rows)
                verdicts.append(Verdict(rule.id, rule.statement, rows[0].total if rows else 0, findings))
        return tuple(verdicts)

    ExposedFunction(check_rules, timeout_s=CHECK_TIMEOUT_S, context=schema)


def count_and_cut(rows: str) -> str:
    """The statement that gives the first of these rows, and how many there are."""
    return f"SELECT b.key::text AS key, b.found, count(*) OVER () AS total FROM ({rows}) AS b LIMIT {MOST_SHOWN}"


async def check_rules(context: str, settled: bool) -> tuple[Verdict, ...]:
    """What becomes of the rules of a context, wherever it is hosted."""
    function = EXPOSED[f"{context}/check_rules"]
    verdicts: tuple[Verdict, ...] = await function.ask(function.argument_type(settled))
    return verdicts
