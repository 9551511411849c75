"""What goes wrong in a shop is told to its admins: each alert is seen to fire, of what causes it in a shop that is in use."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from tests.deploy.prometheus import Prometheus
from tests.journeys.client import Client
from tests.journeys.conftest import Shop, run_shop
from tests.journeys.processes import Processes
from tests.journeys.test_jobs import fail_a_job
from tests.sandbox.conftest import Sandbox
from tests.waiting import until

from souk.kit.ids import new_id
from souk.kit.postgres import EmbeddedPostgres

TOKEN = "a-token-of-the-tests-for-the-metrics"
# A shop that looks often, waits for nothing, and whose disk is never empty enough.
WATCHFUL = {
    "SOUK_METRICS_TOKEN": TOKEN,
    "SOUK_WATCH_EVERY_S": "0.3",
    "SOUK_WATCH_PATIENCE_S": "0.5",
    "SOUK_WATCH_LAG_S": "2",
    "SOUK_WATCH_ERROR_REQUESTS": "10",
    "SOUK_WATCH_ERROR_WINDOW_S": "5",
    "SOUK_WATCH_DISK_SHARE": "1",
    "SOUK_NOTIFICATIONS_ALERT_QUIET_S": "3",
}
# A fact whose consumer cannot read it, as if another version had written it.
ANNOUNCE = "INSERT INTO {0}.outbox (event_id, type, aggregate_id, payload, request_id) VALUES ($1, $2, $1, $3, '')"
BREAK_BOOKS = "INSERT INTO users.outbox (event_id, type, aggregate_id, payload, request_id) VALUES ($1, 'users.Nothing', $1, '{}', '')"
# Without an id of its own: behind one no fact would be final, and none could be seen to be late.
HOLD_BACK = "LOCK TABLE notifications.consumer_position IN SHARE MODE"


@pytest.fixture(scope="module")
def watchful(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, Sandbox]]:
    with run_shop("watched", postgres, tmp_path_factory.mktemp("watched"), wire=False, settings=WATCHFUL) as running:
        yield running


@pytest.fixture
async def watched(watchful: tuple[Processes, Sandbox]) -> AsyncIterator[Shop]:
    async with aiohttp.ClientSession() as session:
        yield Shop(*watchful, session)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    """It looks at the watched shop with the rules that the shop comes with."""
    one = Prometheus(tmp_path)
    yield one
    one.stop()


async def run(shop: Shop, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(shop.processes.dsns["users"])
    await connection.execute(statement, *values)
    await connection.close()


async def alerts(shop: Shop, status: str = "open") -> dict[tuple[str, str], dict[str, Any]]:
    admin = await shop.admin()
    return {(one["alert"], one["subject"]): one for one in (await admin.get(f"/alerts?status={status}&limit=100")).ok["items"]}


async def fires(shop: Shop, alert: str, subject: str) -> dict[str, Any]:
    await until(lambda: _has(shop, alert, subject), within_s=60)
    return (await alerts(shop, "all"))[alert, subject]


async def _has(shop: Shop, alert: str, subject: str) -> bool:
    return (alert, subject) in await alerts(shop, "all")


async def ask_in_vain_and_see(shop: Shop) -> bool:
    """Every other request fails: looking for the alert is a request, too, and one that does not."""
    assert (await shop.visitor().get("/categories")).status == 500
    return await _has(shop, "server_errors", "requests")


async def feed_of(admin: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await admin.get("/notifications?limit=100")).ok["items"]
    return found


@pytest.mark.timeout(400)
async def test_each_alert_fires_of_what_causes_it_and_admins_find_it_in_their_feed(watched: Shop) -> None:
    admin = await watched.admin()
    # The disk was full before there was an admin; it is again.
    await run(watched, "DELETE FROM notifications.alert WHERE alert = 'disk'")
    assert "Free room" in (await fires(watched, "disk", "home"))["text"]

    await run(watched, ANNOUNCE.format("users"), new_id(), "users.UserErased", json.dumps({"nothing": True}))
    await fires(watched, "dead_letters", "notifications.forget_users")

    await fail_a_job(watched)
    await fires(watched, "failed_jobs", "users.forget_sessions")

    twice = new_id()
    await run(watched, BREAK_BOOKS, twice)
    await run(watched, BREAK_BOOKS, twice)
    await run(watched, "INSERT INTO jobs.pgqueuer (entrypoint, priority, status) VALUES ('notifications.audit_books', 0, 'queued')")
    assert "Rows break a rule" in (await fires(watched, "audit_findings", "I8.facts"))["text"]

    await run(watched, "ALTER TABLE catalog.category RENAME TO gone")
    await until(lambda: ask_in_vain_and_see(watched), within_s=60)
    await run(watched, "ALTER TABLE catalog.gone RENAME TO category")

    async def told() -> bool:
        text = json.dumps(await feed_of(admin))
        return all(name in text for name in ("disk", "dead_letters", "failed_jobs", "audit_findings", "server_errors"))

    await until(told, within_s=60)

    raised = [one for one in await feed_of(admin) if one["kind"] == "alert_raised" and "disk: home" in json.dumps(one)]
    assert len(raised) == 1, "once, however often it was reported"


@pytest.mark.timeout(400)
async def test_events_that_wait_are_an_alert_until_they_are_applied(watched: Shop) -> None:
    admin = await watched.admin()
    connection = await asyncpg.connect(watched.processes.dsns["users"])
    await connection.execute("SET idle_in_transaction_session_timeout = 0")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(HOLD_BACK)
    await watched.buyer()
    assert (await fires(watched, "event_lag", "users"))["text"].startswith("Events wait to be applied: ")
    await transaction.rollback()
    await connection.close()

    async def over() -> bool:
        return ("event_lag", "users") in await alerts(watched, "ended")

    await until(over, within_s=60)
    await until(lambda: _is_told(admin, "alert_ended"), within_s=30)


@pytest.mark.timeout(400)
async def test_a_transaction_that_stays_open_is_an_alert_for_nobody_sees_that_events_wait(watched: Shop) -> None:
    connection = await asyncpg.connect(watched.processes.dsns["users"])
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT pg_current_xact_id()")
    alerts_of = {name for name, _ in await alerts(watched)}
    await until(lambda: _fires(watched, "open_transaction"), within_s=60)
    await transaction.rollback()
    await connection.close()
    assert "open_transaction" not in alerts_of


async def _fires(shop: Shop, alert: str) -> bool:
    return alert in {name for name, _ in await alerts(shop, "all")}


async def _is_told(admin: Client, kind: str) -> bool:
    return kind in {one["kind"] for one in await feed_of(admin)}


async def test_metrics_are_for_who_has_the_token_on_both_listeners(watched: Shop) -> None:
    for url in (watched.url, watched.processes.internal_url("users")):
        for token, status in ((TOKEN, 200), ("a" * 36, 401), ("", 401)):
            async with watched.session.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}) as answer:
                assert (url, token, answer.status) == (url, token, status)
                assert ("souk_disk_free_bytes" in await answer.text()) == (status == 200)
        async with watched.session.get(f"{url}/metrics") as answer:
            assert answer.status == 401
    buyer = await watched.buyer()
    assert (await buyer.get("/metrics")).status == 403


async def test_a_real_prometheus_sees_the_shop_and_its_alert(watched: Shop, prometheus: Prometheus, tmp_path: Path) -> None:
    deploy = Path(__file__).parents[2] / "deploy/prometheus"
    told = (deploy / "prometheus.yml").read_text().replace("15s", "1s").replace("/tmp/token", str(tmp_path / "token"))
    head, _, rest = told.partition("    dns_sd_configs:")
    places = f"    static_configs: [{{targets: ['{watched.url.removeprefix('http://')}']}}]\n    relabel_configs:"
    (tmp_path / "prometheus.yml").write_text(head + places + rest.partition("    relabel_configs:")[2])
    (tmp_path / "rules.yml").write_text((deploy / "rules.yml").read_text())
    (tmp_path / "token").write_text(TOKEN)
    await fail_a_job(watched)
    await asyncio.to_thread(prometheus.start)

    async def sees() -> bool:
        return ("failed_jobs", "users.forget_sessions") in await asyncio.to_thread(prometheus.firing)

    await until(sees, within_s=40)
    assert [one["value"][1] for one in await asyncio.to_thread(prometheus.query, 'up{job="souk"}')] == ["1"]
