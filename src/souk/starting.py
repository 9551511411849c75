"""What every command needs: the database it works on, and plain words when something is wrong."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import asyncpg
import click

from souk import app
from souk.kit import postgres
from souk.kit.config import BadSettings
from souk.kit.migrations import CannotMigrate
from souk.kit.postgres import PostgresUnavailable
from souk.kit.separation import CannotSeparate
from souk.kit.server import PortTaken


def database(report: Callable[[str], None]) -> AbstractContextManager[str]:
    """The shared database's address, as long as this block: DATABASE_URL, or the embedded server under SOUK_HOME."""
    return postgres.database(app.find_home, report)


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a person can mend is one sentence and exit code 1, not a traceback."""
    try:
        yield
    except (BadSettings, CannotMigrate, CannotSeparate, PortTaken, PostgresUnavailable) as mistake:
        raise click.ClickException(str(mistake)) from mistake
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as unreachable:
        raise click.ClickException(f"The database cannot be used: {unreachable}. Is DATABASE_URL right?") from unreachable


def say(line: str) -> None:
    """Tell the person who started the command."""
    click.echo(line, err=True)
