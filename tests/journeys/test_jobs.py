"""Admins see what runs beside the requests, in every process of the shop, and run again what has failed."""

import json

import asyncpg
from tests.journeys.conftest import Shop
from tests.waiting import until

from souk import app

FAIL = """
    WITH failed AS (
        INSERT INTO jobs.pgqueuer (entrypoint, priority, status, attempts) VALUES ('users.forget_sessions', 0, 'failed', 7) RETURNING id
    )
    INSERT INTO jobs.pgqueuer_log (job_id, status, priority, entrypoint, traceback)
    SELECT id, 'failed', 0, 'users.forget_sessions', '{"exception_type": "ValueError", "exception_message": "<b>no</b>"}' FROM failed
    RETURNING job_id
"""


async def fail_a_job(shop: Shop) -> int:
    connection = await asyncpg.connect(shop.processes.dsns["users"])
    number: int = await connection.fetchval(FAIL)
    await connection.close()
    return number


async def test_a_failed_job_is_shown_with_its_reason_and_runs_again(shop: Shop) -> None:
    admin, buyer = await shop.admin(), await shop.buyer()
    job_id = f"users-{await fail_a_job(shop)}"

    shown = (await admin.get("/jobs")).ok
    (failed,) = [one for one in shown["failed"] if one["id"] == job_id]
    assert (failed["job"], failed["tries"], failed["reason"]) == ("users.forget_sessions", 8, "ValueError: <b>no</b>")
    assert (await buyer.get("/jobs")).status == 403
    assert (await shop.visitor().get("/jobs")).status == 401
    assert (await buyer.post(f"/jobs/{job_id}/retry")).status == 403
    for unknown in ("users-999999999", "carts-1", "nowhere-1", "users", "1", "users-1%20"):
        assert (await admin.post(f"/jobs/{unknown}/retry")).status == 404, unknown

    assert (await admin.post(f"/jobs/{job_id}/retry")).status == 204

    async def is_done() -> bool:
        now = (await admin.get("/jobs")).ok
        counts = {one["job"]: one for one in now["jobs"]}["users.forget_sessions"]
        return (counts["failed"], counts["waiting"], counts["running"]) == (0, 0, 0)

    await until(is_done)
    assert (await admin.post(f"/jobs/{job_id}/retry")).status == 404


async def test_schedules_and_sweepers_of_every_context_are_shown(shop: Shop) -> None:
    admin = await shop.admin()
    shown = (await admin.get("/jobs")).ok
    schedules = {one["job"]: one for one in shown["schedules"]}
    assert {f"{context}.keep_house" for context in app.CONTEXTS} <= schedules.keys()
    nightly = schedules["carts.forget_guest_carts"]
    assert (nightly["expression"], nightly["timezone"], nightly["missed"]) == ("10 3 * * *", "UTC", "once")
    assert nightly["next_tick_at"].endswith("T03:10:00Z")

    async def have_run() -> bool:
        sweepers = {one["sweeper"]: one for one in (await admin.get("/jobs")).ok["sweepers"]}
        return all(sweepers[name]["outcome"] == "done" for name in ("orders.resume_stuck_orders", "inventory.release_expired_stock"))

    await until(have_run)


async def test_the_command_shows_the_same(shop: Shop) -> None:
    shown = json.loads(shop.processes.souk("jobs", "--json"))
    assert {one["sweeper"] for one in shown["sweepers"]} >= {"orders.resume_stuck_orders", "payments.retry_refunds"}
    assert "keep_house" in shop.processes.souk("jobs")


async def test_the_page_holds_nothing_and_runs_nothing_but_its_own_script(shop: Shop) -> None:
    stranger = shop.visitor()
    page = await stranger.get("/jobs/page")
    policy = page.headers["content-security-policy"]
    assert page.status == 200
    assert b'type="password"' in page.content
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"onclick" not in page.content
    assert b"<script>" not in page.content
    script = await stranger.get("/jobs/page/jobs.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert b"innerHTML" not in script.content
    assert (await stranger.get("/jobs/page/jobs.py")).status == 404
