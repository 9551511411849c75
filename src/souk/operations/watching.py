"""Each process looks at itself every few seconds, and tells notifications what is beyond its limit: admins hear of it."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from souk import notifications
from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW, Database
from souk.kit.errors import Unavailable
from souk.kit.measuring import ErrorWindow, measure_answers, measure_databases, measure_disks
from souk.operations.alerts import Alert, choose_lasting, find_symptoms, make_alerts, read_values
from souk.operations.settings import settings

log = logging.getLogger(__name__)


async def watch_forever(home: Path, databases: Sequence[Database]) -> None:
    """Measure, and tell what is wrong, until cancelled. What nobody can be told now is told the next time, if it is still so."""
    set_caller(Caller(principal=SYSTEM, request_id="watching"))
    told = settings.now
    alerts = make_alerts(told)
    window = ErrorWindow(told.error_window_s, told.error_requests)
    since: dict[tuple[Alert, str], float] = {}
    while True:
        measure_disks({"home": home, "database": home / "postgres" / "data"})
        measure_answers(window)
        try:
            await measure_databases(databases)
        except (Unavailable, *NOT_NOW) as silence:
            log.warning("measuring_interrupted", extra={"reason": str(silence)})
        symptoms = find_symptoms((alert, read_values(alert)) for alert in alerts)
        since, lasting = choose_lasting(asyncio.get_running_loop().time(), symptoms, since)
        try:
            if lasting:
                await notifications.report_symptoms(tuple(lasting))
        except (Unavailable, *NOT_NOW) as silence:
            log.warning("symptoms_untold", extra={"reason": str(silence), "symptoms": [f"{one.alert} {one.subject}" for one in lasting]})
        await asyncio.sleep(told.every_s)
