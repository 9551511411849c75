"""Alerts: admins are told once that one begins and once that it is over, however many processes tell of it, and however it flickers."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

import pytest
from tests.conftest import asked_by
from tests.notifications.tidings import add_person, kinds_of, plan
from tests.orders.market import as_system

from souk import notifications
from souk.app import Shop
from souk.kit.errors import Forbidden, Unauthenticated
from souk.kit.telemetry import AUDIT_FINDINGS
from souk.notifications import RaisedAlert, RuleCount, Symptom, alerts, findings
from souk.notifications.database import db
from souk.notifications.settings import settings

LATE = Symptom("event_lag", "orders", "Events wait to be applied: 75 s (limit 60 s)")
FULL = Symptom("disk", "home", "Free room on the disk: 3 % (limit 5 %)")


@pytest.fixture(autouse=True)
def no_quiet() -> None:
    """What nobody tells of is over at once, unless a test says otherwise."""
    settings.replace(alert_quiet_s=0.0)


async def report(*symptoms: Symptom) -> None:
    with as_system():
        await notifications.report_symptoms(symptoms)


async def find(status: notifications.AlertFilter = "open") -> Sequence[RaisedAlert]:
    with asked_by("admin"):
        return (await notifications.list_raised_alerts(status, 50, None)).items


async def pass_by(time: timedelta) -> None:
    earlier = "UPDATE notifications.alert SET raised_at = raised_at - $1::interval, seen_at = seen_at - $1 WHERE ended_at IS NULL"
    await db.pool.execute(earlier, time)


async def test_an_alert_is_told_to_admins_once_and_once_that_it_is_over(shop: Shop) -> None:
    admin, buyer = await add_person(roles=("admin",)), await add_person()
    for _ in range(3):
        await asyncio.gather(*(report(LATE, FULL) for _ in range(4)))
    await report(FULL)
    assert {(one.alert, one.subject, one.ended_at) for one in await find()} == {("event_lag", "orders", None), ("disk", "home", None)}
    await plan()
    told = [kind for kind in await kinds_of(admin) if kind[0].startswith("alert")]
    assert told == [("alert_raised", channel, "waiting") for channel in ("email", "email", "in_app", "in_app")]
    await pass_by(timedelta(seconds=1))
    assert await alerts.end_alerts() == 2
    assert await alerts.end_alerts() == 0
    await plan()
    assert len([kind for kind, channel, _ in await kinds_of(admin) if (kind, channel) == ("alert_ended", "in_app")]) == 2
    assert await find() == () and len(await find("ended")) == len(await find("all")) == 2
    assert not [kind for kind, _, _ in await kinds_of(buyer) if kind.startswith("alert")]


async def test_what_comes_again_after_it_was_over_is_another_alert(shop: Shop) -> None:
    await report(LATE)
    (first,) = await find()
    await pass_by(timedelta(seconds=1))
    await alerts.end_alerts()
    await report(LATE)
    (second,) = await find()
    assert second.id != first.id
    assert [one.id for one in await find("all")] == [second.id, first.id]


async def test_what_flickers_is_one_alert(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.replace(alert_quiet_s=30.0)
    await report(LATE)
    for _ in range(3):
        await pass_by(timedelta(seconds=20))
        assert alerts.may_end(31, 30)
        monkeypatch.setattr(alerts, "BEGUN", monotonic() - 60)
        assert await alerts.end_alerts() == 0
        await report(LATE)
    assert len(await find("all")) == 1
    await pass_by(timedelta(seconds=31))
    monkeypatch.setattr(alerts, "BEGUN", monotonic())
    assert await alerts.end_alerts() == 0, "a process that has just begun to listen takes no silence for a good sign"
    assert not alerts.may_end(29, 30)


async def test_only_the_shop_tells_of_alerts_and_only_admins_see_them(shop: Shop) -> None:
    with asked_by("admin"), pytest.raises(Forbidden):
        await notifications.report_symptoms((LATE,))
    with asked_by("seller"), pytest.raises(Forbidden):
        await notifications.list_raised_alerts("all", 10, None)
    with asked_by("seller"), pytest.raises(Forbidden):
        await notifications.record_findings((RuleCount("I1", 1),))
    with pytest.raises(Unauthenticated):
        await notifications.list_raised_alerts("all", 10, None)


async def test_what_was_over_long_ago_is_forgotten(shop: Shop) -> None:
    await report(LATE, FULL)
    await db.pool.execute("UPDATE notifications.alert SET seen_at = now() - interval '500 days', ended_at = now() - interval '500 days' "
                          "WHERE subject = 'orders'")  # fmt: skip
    assert await alerts.forget_old_alerts() == 1
    assert [one.subject for one in await find("all")] == ["home"]


async def test_every_process_shows_what_the_last_audit_found(shop: Shop) -> None:
    with as_system():
        await notifications.record_findings((RuleCount("I0.planted", 3), RuleCount("I0.kept", 0)))
    AUDIT_FINDINGS.labels("I0.planted").set(0)  # as another process that was not told
    await findings.show_findings()
    assert AUDIT_FINDINGS.labels("I0.planted")._value.get() == 3
    with as_system():
        await notifications.record_findings((RuleCount("I0.planted", 0),))
    await findings.show_findings()
    assert AUDIT_FINDINGS.labels("I0.planted")._value.get() == 0
