"""The parent of several workers, a program of its own: it lives as long as the shop, and a process is as large as what it imports.

`souk up --workers` becomes it once it knows that the settings are right.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from souk.kit.postgres import PostgresUnavailable, start
from souk.kit.supervisor import supervise
from souk.kit.telemetry import configure_logging


def become(home: Path, host: str, port: int, workers: int, *, demo: bool) -> None:
    """Go on as the parent of so many workers, in this process."""
    os.environ.update(SOUK_HOME=str(home.absolute()), SOUK_HOST=host, SOUK_PORT=str(port))
    demo_wanted = ("--demo",) if demo else ()
    os.execv(sys.executable, (sys.executable, "-m", "souk.supervising", str(workers), *demo_wanted))  # noqa: S606


def main(workers: str, *migrate_options: str) -> None:
    """Start the database, bring it up to date, and keep so many workers."""
    configure_logging(os.environ.get("SOUK_LOG_LEVEL", "INFO"), as_json=not sys.stderr.isatty())
    try:
        with database() as dsn:
            os.environ["DATABASE_URL"] = dsn
            migrated = subprocess.run([sys.executable, "-m", "souk", "migrate", *migrate_options], check=False)
            if migrated.returncode:
                raise SystemExit(migrated.returncode)
            say(f"Souk is at http://{os.environ['SOUK_HOST']}:{os.environ['SOUK_PORT']}, with {workers} workers")
            asyncio.run(supervise(("serve", "all", "--share-port"), int(workers), os.environ, asyncio.Event()))
    except PostgresUnavailable as mistake:
        raise SystemExit(f"Error: {mistake}") from mistake
    say("Stopped")


@contextmanager
def database() -> Iterator[str]:
    """The database's address: DATABASE_URL, or the embedded server, which runs as long as this block."""
    if dsn := os.environ.get("DATABASE_URL"):
        yield dsn
    else:
        with start(Path(os.environ["SOUK_HOME"]), say) as postgres:
            yield postgres.dsn()


def say(line: str) -> None:
    """Tell the person who started the command."""
    click.echo(line, err=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
