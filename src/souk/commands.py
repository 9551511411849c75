"""Commands that work on the data of a shop, running or not: people, goods, history."""

import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from souk import app, audit, catalog, replay, users
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.errors import DomainError, Unavailable
from souk.kit.ids import new_id
from souk.kit.workload import Workload, join_workloads, list_jobs
from souk.starting import database, plain_errors, say

R = TypeVar("R")

as_json_option = click.option("--json", "as_json", is_flag=True, help="Report as JSON on standard output.")


@click.group("users")
def users_group() -> None:
    """Work on accounts."""


@users_group.command("create")
@click.argument("email")
@click.option("--role", "roles", multiple=True, type=click.Choice(["buyer", "seller", "admin"]), default=("buyer",), show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; otherwise one is made and printed.")
@as_json_option
def create_user(email: str, roles: tuple[users.Role, ...], password_stdin: bool, as_json: bool) -> None:
    """Make an account for EMAIL that needs no verification."""
    password = sys.stdin.readline().rstrip("\n") if password_stdin else secrets.token_urlsafe(18)
    made = on_the_shop(lambda: users.create_user(email, password, roles))
    shown: dict[str, object] = {"id": str(made.id), "email": made.email, "roles": list(made.roles)}
    if not password_stdin:
        shown["password"] = password
    print_report(shown, as_json)


@click.group("import")
def import_group() -> None:
    """Bring data into the shop."""


@import_group.command("products")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--columns", type=click.Choice(sorted(catalog.COLUMN_MAPS)), help="How the columns of a foreign file become ours.")
@click.option("--seller", "seller_name", default="Souk Store", show_default=True, help="Whose products they are; made and approved if new.")
@click.option("--refused", "refused_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the refused rows here, as NDJSON.")
@as_json_option
def import_products(file: Path, columns: str | None, seller_name: str, refused_file: Path | None, as_json: bool) -> None:
    """Import products from FILE (CSV, NDJSON or parquet). Bad rows are listed, good ones land, and a second time changes nothing."""
    refused: list[catalog.RowReport] = []
    with progress_bar() as progress:
        task = progress.add_task("Rows", total=None)

        def tell(row: catalog.RowReport) -> None:
            progress.advance(task)
            if row.result == "refused":
                refused.append(row)

        async def work() -> catalog.ImportSummary:
            seller_id = await ensure_seller(seller_name)
            return await catalog.import_file(file, catalog.COLUMN_MAPS[columns] if columns else None, seller_id, tell)

        summary = on_the_shop(work)
    if refused_file:
        refused_file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in refused))
    print_report(msgspec.to_builtins(summary), as_json)


async def ensure_seller(name: str) -> UUID:
    """The approved seller of this name whose products are imported at the command line."""
    email = "imports@souk.invalid"
    (owner_id,) = await users.register_users((users.NewUser(id=new_id(), email=email, name="Imports"),))
    with asking(Caller(Principal("user", owner_id, ("buyer",)), request_id="command")):
        mine = {seller.name: seller for seller in (await users.list_sellers(None, True, 100, None)).items}
        seller = mine.get(name) or await users.apply_as_seller(users.SellerFields(name))
    if seller.status != "approved":
        await users.approve_seller(seller.id)
    return seller.id


@click.command("replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json_option
def replay_command(file: Path, as_json: bool) -> None:
    """Sell the history in FILE (parquet) again: products, buyers, stock, orders, refunds. May be interrupted and started again."""
    with progress_bar() as progress:
        task = progress.add_task("Reading", total=None)

        def tell(step: str, done: int, total: int) -> None:
            progress.update(task, description=step, completed=done, total=total)

        result = on_the_shop(lambda: replay.replay_file(file, tell))
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        replay.print_tables(result, Console())


@click.command("audit")
@as_json_option
@click.option("--settled", is_flag=True, help="Read the books of gateways; check the rules, too, that hold only when nothing is under way.")
def audit_command(as_json: bool, settled: bool) -> None:
    """Prove the rules that the books keep, on a shop that may be running; exit code 1 and the rows if one is broken."""
    report = on_the_shop(lambda: audit.check_books(settled=settled), working=False)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for line in audit.describe(report):
            click.echo(line)
    if report.broken:
        raise SystemExit(1)


@click.command("jobs")
@as_json_option
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many failed jobs to show.")
def jobs_command(as_json: bool, limit: int) -> None:
    """Show what runs beside the requests: jobs that wait, run or have failed, schedules, sweepers."""

    async def look() -> Workload:
        return join_workloads([await list_jobs(context, limit) for context in app.CONTEXTS], limit)

    found = on_the_shop(look, working=False)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    console = Console()
    parts = {"Failed": found.failed, "In the queue": found.jobs, "Schedules": found.schedules, "Sweepers": found.sweepers}
    for title, rows in parts.items():
        table = Table(title=title, title_justify="left")
        for row in rows:
            values = msgspec.to_builtins(row)
            if not table.columns:
                for name in values:
                    table.add_column(name.replace("_", " "), overflow="fold")
            # What a job has failed with is text, whatever brackets are in it.
            table.add_row(*(Text("" if value is None else str(value)) for value in values.values()))
        console.print(table if rows else f"{title}: none")


def on_the_shop(work: Callable[[], Awaitable[R]], *, working: bool = True) -> R:
    """Run a piece of work as the system, with every context in this process and, unless it only looks, its consumers at work."""

    async def run(dsn: str) -> R:
        shop = app.read_shop(app.CONTEXTS, dsn)
        await app.migrate_all(shop.dsns, lambda line: say(f"Migrating {line}"))
        async with app.at_work(shop) if working else app.opened(shop):
            with asking(Caller(principal=SYSTEM, request_id="command")):
                return await work()

    with plain_errors(), database(say) as dsn:
        try:
            return uvloop.run(run(dsn))
        except (DomainError, Unavailable) as refusal:
            raise click.ClickException(str(refusal)) from refusal


def progress_bar() -> Progress:
    """Progress on standard error, where it does not mix with a report."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def print_report(report: dict[str, object], as_json: bool) -> None:
    """A flat report, a line per field or as JSON."""
    if as_json:
        click.echo(json.dumps(report))
        return
    for name, value in report.items():
        click.echo(f"{name}: {show(value)}")


def show(value: object) -> str:
    """A value as one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
