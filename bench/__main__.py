"""The measurements as commands."""

from pathlib import Path

import click
import msgspec

from bench import purchases


@click.group()
def main() -> None:
    """Measure Souk on this machine."""


@main.command("purchases")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path(".bench"),
    show_default=True,
    help="Where the shop's data lies; it is made anew.",
)
@click.option("--products", default=100_000, show_default=True)
@click.option("--buyers", default=100_000, show_default=True)
@click.option("--clients", default=128, show_default=True, help="Connections, with a request in flight on each.")
@click.option("--workers", default=2, show_default=True, help="Processes that serve the shop.")
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--port", default=8077, show_default=True)
def purchases_command(home: Path, port: int, **size: float) -> None:
    """Purchases per second: two product pages, a cart with two lines, an order with a card."""
    report = purchases.measure(home, msgspec.convert(size, purchases.Size), port)
    click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())


if __name__ == "__main__":
    main()
