"""The audit that a shop makes of itself each night, so that what breaks its rules is an alert in the morning."""

from souk.audit.checking import check_books
from souk.kit.queue import JOBS, Job, Terms
from souk.kit.schedules import scheduled

# An audit reads whole tables: at night, and one at a time. An edge has no queue; the job lies where what is found is kept.
WHEN, WHERE = "43 3 * * *", "notifications"
TERMS = Terms(tries=3, back_off_s=300.0, timeout_s=3600.0, priority=0, at_once=1)


async def audit_books() -> None:
    """Check what holds at any time, and keep what was found."""
    await check_books(settled=False)


def schedule_audit() -> None:
    """Do it every night; again changes nothing."""
    if f"{WHERE}.{audit_books.__name__}" not in JOBS:
        scheduled(WHEN)(Job(audit_books, TERMS, WHERE))
