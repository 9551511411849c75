"""What the machine can do without the shop: durable transactions a second, and requests a second of a bare server."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import load
from souk.kit.server import Listener, serve_until_stopped

BODY = b'{"items":[]}' * 40


def tpcb(dsn: str, seconds: float) -> float | None:
    """pgbench's TPC-B with eight clients on the same server; None where there is no pgbench."""
    program = next(iter(Path("/usr/lib/postgresql").glob("*/bin/pgbench")), None)
    if program is None:
        print("pgbench is not installed (Debian: postgresql-contrib): no rate of durable transactions", file=sys.stderr)
        return None
    subprocess.run([program, "-q", "-i", "-s", "20", dsn], check=True, capture_output=True)
    done = subprocess.run(
        [program, "-c", "8", "-j", "1", "-T", str(int(seconds)), "-M", "prepared", dsn], check=True, capture_output=True, text=True
    )
    return next(float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("tps = "))


def bare_server(port: int, clients: int, seconds: float) -> float:
    """Requests a second of one process of the shop's web server that does nothing at all, by the same generator."""
    process = subprocess.Popen([sys.executable, "-m", "bench.floors", str(port)])
    try:
        load.wait_until_listening(port)
        end = time.perf_counter() + seconds

        def ask() -> load.Visitor:
            status, _ = yield b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
            return status == 200

        tally = uvloop.run(load.run(port, clients, lambda: ask() if time.perf_counter() < end else None))
        return tally.requests / seconds
    finally:
        process.terminate()
        process.wait(10)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(BODY))]})
    await send({"type": "http.response.body", "body": BODY})


async def serve(port: int) -> None:
    await serve_until_stopped([Listener(answer, "127.0.0.1", port)], lambda: None, asyncio.Event())


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
