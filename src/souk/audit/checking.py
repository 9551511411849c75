"""Check every rule: those of each context in a snapshot of its own, then those between contexts."""

import logging
from datetime import UTC, datetime

from souk import notifications
from souk.audit.comparing import compare_contexts
from souk.audit.deliveries import check_deliveries
from souk.audit.letters import compare_letters, compare_wishes
from souk.audit.ratings import compare_ratings
from souk.audit.readings import read_gateway_books
from souk.audit.reporting import Report, make_report
from souk.kit.callers import caller
from souk.kit.calls import topology
from souk.kit.errors import Unavailable
from souk.kit.rules import Verdict, check_rules
from souk.notifications import RuleCount

log = logging.getLogger(__name__)


async def check_books(*, settled: bool) -> Report:
    """Whether the books keep their rules now; `settled` ones hold only when nothing is under way.

    One context after the other, so that a live shop keeps its connections. With `settled` the books of gateways are read first, which
    takes in what they tell of. What was found is kept for the alerts; besides that it changes nothing. For admins. Raises Forbidden.
    """
    caller().principal.require_admin()
    checked_at = datetime.now(UTC)
    verdicts: list[Verdict] = []
    if settled:
        verdicts.append(await read_gateway_books())
    for context in sorted(topology.hosted | topology.peers.keys()):
        verdicts += await check_rules(context, settled)
    verdicts += await check_deliveries(settled=settled)
    verdicts += await compare_contexts(settled=settled)
    verdicts.append(await compare_ratings())
    verdicts.append(await compare_wishes())
    if settled:
        verdicts.append(await compare_letters())
    report = make_report(checked_at, verdicts)
    try:
        await notifications.record_findings(tuple(RuleCount(rule.id, rule.count) for rule in report.rules))
    except Unavailable as silence:
        log.warning("findings_not_kept", extra={"reason": str(silence)})
    return report
