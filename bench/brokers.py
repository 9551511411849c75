"""Events on their way from a source's outbox to a consumer in another process: over HTTP, RabbitMQ and Kafka, one after the other."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from tests.engines.brokers import KINDS, Broker, lacking
from tests.kit import notebook
from tests.ports import find_free_port

from bench.machine import processes, tree
from souk.kit import migrations
from souk.kit.partitions import add_partitions
from souk.kit.postgres import EmbeddedPostgres, start

WRITE = """
    INSERT INTO kit.outbox (event_id, type, aggregate_id, payload, request_id)
    SELECT gen_random_uuid(), 'kit.Noted', note_id, json_build_object('note_id', note_id, 'number', number), ''
    FROM (SELECT gen_random_uuid() AS note_id, number FROM generate_series(1, $1::int) AS number) AS notes
"""
WAITS = """
    SELECT percentile_disc(array[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM h.heard_at - o.created_at) * 1000)
    FROM kit.heard AS h JOIN kit.outbox AS o USING (event_id) WHERE o.id > $1
"""
ANY_LEFT = "SELECT (SELECT count(*) FROM kit.outbox) > (SELECT count(*) FROM kit.heard)"
AT_ONCE = 10
# So many that the writer is ahead of whoever carries them.
MANY = 1_000
PACE_S = 0.1
WITHIN_S = 300.0


def measure(home: Path, events: int, seconds: float) -> list[dict[str, Any]]:
    """For each way: events a second with a writer that does not wait, CPU by process, and the wait of an event at 100 a second."""
    shutil.rmtree(home, ignore_errors=True)
    found = []
    with start(home) as postgres:
        for way in ("http", *KINDS):
            if lack := lacking(way) if way in KINDS else None:
                print(lack, file=sys.stderr)
                continue
            found.append(uvloop.run(_measure(way, home, postgres, events, seconds)))
    direct = found[0]["events_per_second"]
    return [one | {"of_http": round(one["events_per_second"] / direct, 2)} for one in found]


async def _measure(way: str, home: Path, postgres: EmbeddedPostgres, events: int, seconds: float) -> dict[str, Any]:
    name = f"bench_{way}"
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    own = postgres.dsn(name)
    connection = await asyncpg.connect(own)
    for file in sorted(Path(migrations.__file__).parent.glob("*.sql")):
        await connection.execute(file.read_text().replace("{schema}", "kit"))
    await connection.execute(notebook.TABLES)
    await add_partitions(connection, "kit")
    broker = KINDS[way](home / way) if way in KINDS else None
    running: list[subprocess.Popen[bytes]] = []
    try:
        if broker is not None:
            broker.start()
        port, secret = str(find_free_port()), secrets.token_hex(32)
        url = [broker.url] if broker else []
        running.append(_spawn("relay", own, port, secret, *url))
        running.append(_spawn("hear", own, f"http://127.0.0.1:{port}", secret, *url))
        return {"way": way} | await _tell(connection, broker, running, events, seconds)
    finally:
        for process in running:
            process.kill()
            process.wait()
        if broker is not None:
            broker.kill()
        await connection.close()


async def _tell(
    connection: asyncpg.Connection, broker: Broker | None, running: list[subprocess.Popen[bytes]], events: int, seconds: float
) -> dict[str, Any]:
    until = time.perf_counter() + 8
    while time.perf_counter() < until:
        await connection.execute(WRITE, 1)
        await asyncio.sleep(0.05)
    await _until_all_heard(connection)
    last = await connection.fetchval("SELECT max(id) FROM kit.outbox")
    for _ in range(int(seconds / PACE_S)):
        await connection.execute(WRITE, AT_ONCE)
        await asyncio.sleep(PACE_S)
    await _until_all_heard(connection)
    median, worst = await connection.fetchval(WAITS, last)
    before, began = _cpu_s(running, broker), time.perf_counter()
    for _ in range(events // MANY):
        await connection.execute(WRITE, MANY)
    written_s = time.perf_counter() - began
    await _until_all_heard(connection)
    took_s = time.perf_counter() - began
    used = [round((now - then) / events * 1e6) for now, then in zip(_cpu_s(running, broker), before, strict=True)]
    return {
        "events_per_second": round(events / took_s),
        "written_per_second": round(events / written_s),
        "cpu_us_per_event": dict(zip(("source", "consumer", "broker"), used, strict=True)),
        "wait_ms": {"median": round(median), "p99": round(worst)},
    }


async def _until_all_heard(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(WITHIN_S):
        while await connection.fetchval(ANY_LEFT):  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.05)


def _spawn(*arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "tests.kit.process", *arguments], stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


def _cpu_s(running: list[subprocess.Popen[bytes]], broker: Broker | None) -> tuple[float, ...]:
    known = processes()
    return (*(sum(known[pid][2] for pid in tree(one.pid, known) if pid in known) for one in running), broker.cpu_s() if broker else 0.0)
