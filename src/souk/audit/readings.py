"""Have the books of gateways read up to now, before what they contradict is counted."""

from souk import payments
from souk.audit.reporting import verdict_on
from souk.kit.rules import Finding, Rule, Verdict

READ = Rule("I6.read", "Every gateway's book can be read", settled=True)


async def read_gateway_books() -> Verdict:
    """What becomes of the rule. What is read is booked, and where it differs from our books a discrepancy is kept, as at any other time."""
    readings = await payments.read_gateway_books()
    return verdict_on(READ, tuple(Finding(one.gateway, {"could not be read": one.unread}) for one in readings if one.unread is not None))
