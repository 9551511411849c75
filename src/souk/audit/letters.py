"""Compare what notifications says to have sent with the book of who took it, where there is one."""

import asyncio

from souk import notifications
from souk.audit import comparing
from souk.audit.reporting import verdict_on
from souk.kit.rules import Finding, Rule, Verdict

TAKEN = Rule("I12.taken", "What was sent stands once in the book of who took it, and nothing else stands there", settled=True)


async def compare_letters() -> Verdict:
    """What becomes of the rule. What differs is read again some seconds later, for a letter is written down after it was taken."""
    suspects = set(await notifications.check_letters())
    if suspects:
        await asyncio.sleep(comparing.AGAIN_AFTER_S)
        suspects &= set(await notifications.check_letters())
    ordered = sorted(suspects, key=lambda one: one.letter_id)
    return verdict_on(TAKEN, tuple(Finding(str(one.letter_id), {"status": one.status, "taken": one.taken}) for one in ordered))
