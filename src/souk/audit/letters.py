"""Compare what notifications says to have sent with what people want, and with the book of who took it, where there is one."""

import asyncio

import msgspec

from souk import notifications
from souk.audit import comparing
from souk.audit.reporting import verdict_on
from souk.kit.rules import Finding, Rule, Verdict

TAKEN = Rule("I12.taken", "What was sent stands once in the book of who took it, and nothing else stands there", settled=True)


WANTED = Rule("I12.wanted", "Nobody was sent what they had said no to")


async def compare_wishes() -> Verdict:
    """What becomes of the rule. Nothing is under way in what was decided a minute after somebody said no."""
    found = await notifications.find_unwanted()
    return verdict_on(WANTED, tuple(Finding(f"{one.user_id} {one.topic} {one.channel}", msgspec.to_builtins(one)) for one in found))


async def compare_letters() -> Verdict:
    """What becomes of the rule. What differs is read again some seconds later, for a letter is written down after it was taken."""
    suspects = set(await notifications.check_letters())
    if suspects:
        await asyncio.sleep(comparing.AGAIN_AFTER_S)
        suspects &= set(await notifications.check_letters())
    ordered = sorted(suspects, key=lambda one: one.letter_id)
    return verdict_on(TAKEN, tuple(Finding(str(one.letter_id), {"status": one.status, "taken": one.taken}) for one in ordered))
