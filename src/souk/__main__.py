"""The command line: start the shop, serve some of its contexts, migrate, and work on its data."""

import asyncio
import os
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import click

from souk import app, commands, deployment, splitting, supervising
from souk.demo import seed_demo
from souk.kit import server
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.config import find_secret
from souk.kit.telemetry import configure_logging
from souk.sandbox import SandboxSettings
from souk.sandbox import run as run_sandbox
from souk.starting import database, plain_errors, say


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Souk: a self-hosted commerce platform for marketplaces."""


@main.command()
@click.option("--host", default=None, help="Address to listen on (SOUK_HOST, default 127.0.0.1).")
@click.option("--port", type=int, default=None, help="Port to listen on (SOUK_PORT, default 8000).")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that answer requests.")
@click.option("--no-demo", is_flag=True, help="Begin with an empty shop instead of a demo.")
@click.option("--split", is_flag=True, help="A process and a database for each context, and an edge before them.")
@click.option("--processes", default="", metavar="NAME=COUNT,…", help="With --split: more processes of a service (orders=2,edge=2).")
@click.option("--broker", default=None, metavar="URL", help="With --split: Kafka or RabbitMQ between the services (SOUK_BROKER_URL).")
def up(  # noqa: PLR0913, PLR0917  one for each option
    host: str | None, port: int | None, workers: int, no_demo: bool, split: bool, processes: str, broker: str | None
) -> None:
    """Start the whole shop: database, migrations, a demo on first start, and the server. Ctrl-C stops all of it."""
    if broker is not None and not split:
        raise click.UsageError("--broker is for a split shop; one in one piece tells itself what happens")
    with plain_errors():
        override("SOUK_HOST", host)
        override("SOUK_PORT", port)
        override("SOUK_BROKER_URL", broker)
        know_sandbox()
        counts = read_counts(processes, workers, split=split)
        if split or workers > 1:
            settings = app.read_shop(app.CONTEXTS, "checked").settings
            server.check_port(settings.host, settings.port)
            if split:
                splitting.become(settings.home, settings.host, settings.port, counts, demo=not no_demo)
            supervising.become(settings.home, settings.host, settings.port, workers, demo=not no_demo)
        with database(say) as dsn:
            shop = app.read_shop(app.CONTEXTS, dsn)
            configure_logging(shop.settings.log_level, as_json=not sys.stderr.isatty())
            server.check_port(shop.settings.host, shop.settings.port)
            server.run(lambda: serve_shop(shop, seed=not no_demo))


@main.command()
@click.argument("contexts", nargs=-1, required=True)
@click.option("--host", default=None, help="Address of the public listener (SOUK_HOST).")
@click.option("--port", type=int, default=None, help="Port of the public listener (SOUK_PORT); 0 is none.")
@click.option("--internal-port", type=int, default=None, help="Port of the listener for other processes (SOUK_INTERNAL_PORT).")
@click.option("--share-port", is_flag=True, help="Another process of the shop may listen on the same port.")
def serve(contexts: tuple[str, ...], host: str | None, port: int | None, internal_port: int | None, share_port: bool) -> None:
    """Host just these CONTEXTS, reach the others at SOUK_PEER_<CONTEXT>. `all` is every context; `edge` is none of them."""
    with plain_errors():
        override("SOUK_HOST", host)
        override("SOUK_PORT", port)
        override("SOUK_INTERNAL_PORT", internal_port)
        hosted = choose_contexts(contexts)
        shop = app.read_shop(hosted, os.environ.get("DATABASE_URL"))
        configure_logging(shop.settings.log_level)
        if not share_port:
            check_ports(shop.settings)
        server.run(lambda: serve_shop(shop, seed=False))


@main.command()
@click.option("--demo", is_flag=True, help="Make the demo in a shop that is empty, too.")
@click.option("--separate", is_flag=True, help="First make a database and a role for each context that has none yet.")
def migrate(demo: bool, separate: bool) -> None:
    """Bring the database to this version."""
    with plain_errors(), database(say) as dsn:
        know_sandbox()
        if separate:
            asyncio.run(app.separate_contexts(dsn, say))
        shop = app.read_shop(app.CONTEXTS, dsn)
        applied = asyncio.run(app.migrate_all(shop.dsns, say))
        say(f"{applied} files applied" if applied else "Nothing to do: the database is up to date")
        if demo:
            asyncio.run(seed(shop))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8100, show_default=True, help="Port to listen on.")
@click.option("--mail-port", type=int, default=8125, show_default=True, help="Where letters are taken over SMTP.")
@click.option("--shop", "shop_url", default="http://127.0.0.1:8000", show_default=True, help="The shop that is told by webhooks.")
def sandbox(host: str, port: int, mail_port: int, shop_url: str) -> None:
    """Run the fake world outside: a card processor, a payment app, a bank, a carrier and the post. Its books and keys lie in SOUK_HOME."""
    with plain_errors():
        home = app.find_home()
        settings = SandboxSettings(
            home=home / "sandbox",
            webhook_url=f"{shop_url.rstrip('/')}/payments/webhooks/sandbox",
            bank_webhook_url=f"{shop_url.rstrip('/')}/payments/webhooks/sandbox_bank",
            carrier_webhook_url=f"{shop_url.rstrip('/')}/shippings/webhooks/sandbox",
            webhook_secret=sandbox_webhook_secret(home),
            api_key=find_secret(home, "sandbox_api_key").decode(),
            mail_port=mail_port,
            mail_webhook_url=f"{shop_url.rstrip('/')}/notifications/webhooks/mail",
        )
        server.check_port(host, mail_port, "--mail-port")
        url = f"http://{host}:{port}"
        names = (
            "SOUK_PAYMENTS_SANDBOX_URL", "SOUK_PAYMENTS_SANDBOX_BANK_URL", "SOUK_SHIPPING_SANDBOX_URL", "SOUK_NOTIFICATIONS_SANDBOX_URL",
        )  # fmt: skip
        mail = f"SOUK_NOTIFICATIONS_SMTP_HOST={host} SOUK_NOTIFICATIONS_SMTP_PORT={mail_port} SOUK_NOTIFICATIONS_SMTP_IS_SANDBOX=true"
        say(f"The sandbox is at {url}; start the shop with {' '.join(f'{name}={url}' for name in names)} {mail}")
        server.run(lambda: run_sandbox(settings, host, port))


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure this shop's speed on this machine, in a checkout: purchases, flash-sale, reads, overload, growth."""
    checkout = Path(__file__).parents[2]
    if not (checkout / "bench" / "__main__.py").exists():
        raise click.ClickException("The measurements lie in bench/ of a checkout of Souk, and this is none")
    os.chdir(checkout)
    os.execv(sys.executable, [sys.executable, "-m", "bench", *arguments])  # noqa: S606


def know_sandbox() -> None:
    """A shop that is told only where the sandbox is finds its keys in SOUK_HOME, where `souk sandbox` has put them."""
    for context, doors in (("PAYMENTS", ("URL", "BANK_URL")), ("SHIPPING", ("URL",)), ("NOTIFICATIONS", ("URL",))):
        if any(os.environ.get(f"SOUK_{context}_SANDBOX_{door}") for door in doors):
            home = app.find_home()
            os.environ.setdefault(f"SOUK_{context}_SANDBOX_API_KEY", find_secret(home, "sandbox_api_key").decode())
            os.environ.setdefault(f"SOUK_{context}_SANDBOX_WEBHOOK_SECRETS", sandbox_webhook_secret(home))


def sandbox_webhook_secret(home: Path) -> str:
    """The sandbox signs with it, the shop checks with it (Standard Webhooks: whsec_ and base64)."""
    return f"whsec_{b64encode(bytes.fromhex(find_secret(home, 'sandbox_webhook_secret').decode())).decode()}"


async def serve_shop(shop: app.Shop, *, seed: bool) -> None:
    """Migrate what this process hosts, then serve until it is told to stop."""
    settings = shop.settings
    await app.migrate_all(shop.dsns, lambda line: say(f"Migrating {line}"))
    stopping = asyncio.Event()
    async with app.at_work(shop) as verifier:
        if settings.port:
            await app.learn_token_policy(verifier)
        if seed:
            await fill_demo(settings.home)
        listeners: list[server.Listener] = []
        if settings.port:
            listeners.append(server.Listener(app.make_public_app(shop, verifier), settings.host, settings.port))
        if settings.internal_port:
            listeners.append(server.Listener(app.make_internal_app(shop), settings.internal_host, settings.internal_port))
        await server.serve_until_stopped(listeners, lambda: tell_place(shop), stopping)
    if settings.port:
        say("Stopped")


def tell_place(shop: app.Shop) -> None:
    """Say where the shop is, if this process is where the public finds it."""
    if shop.settings.port:
        say(f"Souk is at http://{shop.settings.host}:{shop.settings.port}")


def check_ports(settings: app.Settings) -> None:
    """Raise PortTaken if one of the two listeners cannot be opened now."""
    if settings.port:
        server.check_port(settings.host, settings.port)
    if settings.internal_port:
        server.check_port(settings.internal_host, settings.internal_port, "--internal-port")


async def seed(shop: app.Shop) -> None:
    """Make the demo with nobody else at work."""
    async with app.at_work(shop):
        await fill_demo(shop.settings.home)


async def fill_demo(home: Path) -> None:
    """Make the demo in a shop that is empty."""
    with asking(Caller(principal=SYSTEM, request_id="demo")):
        await seed_demo(home, say)


def choose_contexts(names: tuple[str, ...]) -> tuple[str, ...]:
    """The contexts that are meant; raises click.BadParameter for one that does not exist."""
    if names == ("all",):
        return app.CONTEXTS
    if names == ("edge",):
        return ()
    if unknown := [name for name in names if name not in app.CONTEXTS]:
        raise click.BadParameter(f"{', '.join(unknown)}: no such context. There are {', '.join(app.CONTEXTS)}, all and edge.")
    return names


def read_counts(processes: str, workers: int, *, split: bool) -> dict[str, int]:
    """How many processes of which service; raises click.BadParameter for what is no service or no number."""
    if (split and workers > 1) or (processes and not split):
        raise click.UsageError("--workers is for a shop in one piece; a split one has --processes NAME=COUNT")
    counts: dict[str, int] = {}
    for one in filter(None, processes.split(",")):
        name, _, count = one.partition("=")
        if name not in {part.name for part in deployment.PARTS} or not count.isdigit() or not 1 <= int(count) <= 64:
            names = ", ".join(part.name for part in deployment.PARTS)
            raise click.BadParameter(f"{one}: want NAME=COUNT with a count of 1 to 64 and a name of {names}")
        counts[name] = int(count)
    return counts


def override(name: str, value: Any) -> None:
    """A command line option wins over the environment."""
    if value is not None:
        os.environ[name] = str(value)


main.add_command(commands.users_group)
main.add_command(commands.import_group)
main.add_command(commands.replay_command)
main.add_command(commands.audit_command)
main.add_command(commands.jobs_command)

if __name__ == "__main__":
    main()
