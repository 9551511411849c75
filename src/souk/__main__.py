"""The command line: start the shop, serve some of its contexts, migrate, and work on its data."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import click

from souk import app
from souk.kit import server
from souk.kit.config import BadSettings
from souk.kit.migrations import CannotMigrate
from souk.kit.postgres import PostgresUnavailable
from souk.kit.postgres import start as start_postgres
from souk.kit.server import PortTaken
from souk.kit.telemetry import configure_logging


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Souk: a self-hosted commerce platform for marketplaces."""


@main.command()
@click.option("--host", default=None, help="Address to listen on (SOUK_HOST, default 127.0.0.1).")
@click.option("--port", type=int, default=None, help="Port to listen on (SOUK_PORT, default 8000).")
@click.option("--no-demo", is_flag=True, help="Begin with an empty shop instead of a demo.")
def up(host: str | None, port: int | None, no_demo: bool) -> None:
    """Start the whole shop: database, migrations, a demo on first start, and the server. Ctrl-C stops all of it."""
    with plain_errors():
        override("SOUK_HOST", host)
        override("SOUK_PORT", port)
        with database(say) as dsn:
            shop = app.read_shop(app.CONTEXTS, dsn)
            configure_logging(shop.settings.log_level, as_json=not sys.stderr.isatty())
            server.check_port(shop.settings.host, shop.settings.port)
            server.run(lambda: serve_shop(shop, seed=not no_demo))


@main.command()
@click.argument("contexts", nargs=-1, required=True)
@click.option("--host", default=None, help="Address of the public listener (SOUK_HOST).")
@click.option("--port", type=int, default=None, help="Port of the public listener (SOUK_PORT).")
@click.option("--internal-port", type=int, default=None, help="Port of the listener for other processes (SOUK_INTERNAL_PORT).")
def serve(contexts: tuple[str, ...], host: str | None, port: int | None, internal_port: int | None) -> None:
    """Host just these CONTEXTS, reach the others at SOUK_PEER_<CONTEXT>. `all` is every context; `edge` is none of them."""
    with plain_errors():
        override("SOUK_HOST", host)
        override("SOUK_PORT", port)
        override("SOUK_INTERNAL_PORT", internal_port)
        hosted = choose_contexts(contexts)
        shop = app.read_shop(hosted, os.environ.get("DATABASE_URL"))
        configure_logging(shop.settings.log_level)
        server.check_port(shop.settings.host, shop.settings.port)
        server.run(lambda: serve_shop(shop, seed=False))


@main.command()
def migrate() -> None:
    """Bring the database to this version."""
    with plain_errors(), database(say) as dsn:
        shop = app.read_shop(app.CONTEXTS, dsn)
        applied = asyncio.run(app.migrate_all(shop.dsns, say))
        say(f"{applied} files applied" if applied else "Nothing to do: the database is up to date")


async def serve_shop(shop: app.Shop, *, seed: bool) -> None:
    """Migrate what this process hosts, then serve until it is told to stop."""
    settings = shop.settings
    await app.migrate_all(shop.dsns, lambda line: say(f"Migrating {line}"))
    stopping = asyncio.Event()
    async with app.at_work(shop) as verifier:
        await app.learn_token_policy(verifier)
        if seed:
            await app.seed_demo(say)
        listeners = [server.make_listener(app.make_public_app(shop, verifier), settings.host, settings.port)]
        if settings.internal_port:
            listeners.append(server.make_listener(app.make_internal_app(shop), settings.internal_host, settings.internal_port))
        await server.serve_until_stopped(listeners, lambda: say(f"Souk is at http://{settings.host}:{settings.port}"), stopping)
    say("Stopped")


def choose_contexts(names: tuple[str, ...]) -> tuple[str, ...]:
    """The contexts that are meant; raises click.BadParameter for one that does not exist."""
    if names == ("all",):
        return app.CONTEXTS
    if names == ("edge",):
        return ()
    if unknown := [name for name in names if name not in app.CONTEXTS]:
        raise click.BadParameter(f"{', '.join(unknown)}: no such context. There are {', '.join(app.CONTEXTS)}, all and edge.")
    return names


@contextmanager
def database(report: Callable[[str], None]) -> Iterator[str]:
    """The shared database's address: DATABASE_URL, or the embedded server, which runs as long as this block."""
    if dsn := os.environ.get("DATABASE_URL"):
        yield dsn
        return
    with start_postgres(app.find_home(), report) as postgres:
        yield postgres.dsn()


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a person can mend is one sentence and exit code 1, not a traceback."""
    try:
        yield
    except (BadSettings, CannotMigrate, PortTaken, PostgresUnavailable) as mistake:
        raise click.ClickException(str(mistake)) from mistake
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as unreachable:
        raise click.ClickException(f"The database cannot be used: {unreachable}. Is DATABASE_URL right?") from unreachable


def override(name: str, value: Any) -> None:
    """A command line option wins over the environment."""
    if value is not None:
        os.environ[name] = str(value)


def say(line: str) -> None:
    """Tell the person who started the command."""
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
