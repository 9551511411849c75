"""The parent of several workers, a program of its own: it lives as long as the shop, and a process is as large as what it imports.

`souk up --workers` becomes it once it knows that the settings are right.
"""

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import click

from souk.kit.postgres import PostgresUnavailable, database
from souk.kit.supervisor import Program, Stage, souk, supervise
from souk.kit.telemetry import configure_logging

# Tell the person who started the command.
say = partial(click.echo, err=True)


def become(home: Path, host: str, port: int, workers: int, *, demo: bool) -> None:
    """Go on as the parent of so many workers, in this process."""
    os.environ.update(SOUK_HOME=str(home.absolute()), SOUK_HOST=host, SOUK_PORT=str(port))
    demo_wanted = ("--demo",) if demo else ()
    os.execv(sys.executable, (sys.executable, "-m", "souk.supervising", str(workers), *demo_wanted))  # noqa: S606


def main(workers: str, *migrate_options: str) -> None:
    """Start the database, bring it up to date, and keep so many workers."""
    configure_logging(os.environ.get("SOUK_LOG_LEVEL", "INFO"), as_json=not sys.stderr.isatty())
    try:
        with database(lambda: Path(os.environ["SOUK_HOME"]), say) as dsn:
            os.environ["DATABASE_URL"] = dsn
            migrated = subprocess.run([sys.executable, "-m", "souk", "migrate", *migrate_options], check=False)
            if migrated.returncode:
                raise SystemExit(migrated.returncode)
            say(f"Souk is at http://{os.environ['SOUK_HOST']}:{os.environ['SOUK_PORT']}, with {workers} workers")
            worker = Program("all", souk("serve", "all", "--share-port"), dict(os.environ))
            asyncio.run(supervise([Stage([worker] * int(workers))], asyncio.Event()))
    except PostgresUnavailable as mistake:
        raise SystemExit(f"Error: {mistake}") from mistake
    say("Stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
