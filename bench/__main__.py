"""The measurements as commands; each fills a shop of its own, serves it by real processes, and reports as JSON."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from bench import brokers, caching, campaign, events, flash_sale, growth, mails, overload, purchases, reads
from bench.summary import summarise

Command = Callable[..., Any]

home = click.option(
    "--home", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True, help="The shop's data, made anew."
)
port = click.option("--port", default=8077, show_default=True)


def processes(count: int) -> Callable[[Command], Command]:
    return click.option("--workers", default=count, show_default=True, help="Processes that serve the shop.")


products = click.option("--products", default=100_000, show_default=True)
seconds = click.option("--seconds", default=60.0, show_default=True)
runs = click.option("--runs", default=1, show_default=True, help="Of several the medians and ranges are told.")


def connections(count: int) -> Callable[[Command], Command]:
    return click.option("--clients", default=count, show_default=True, help="Connections, with a request in flight on each.")


@click.group()
def main() -> None:
    """Measure Souk on this machine."""


@main.command("purchases")
@products
@click.option("--buyers", default=100_000, show_default=True)
@connections(280)
@processes(2)
@seconds
@runs
@click.option("--sandbox", is_flag=True, help="Pay at the fake card processor, a process of its own, and not in the shop's process.")
@click.option("--split", is_flag=True, help="Once more in parts (souk up --split), beside the shop in one piece.")
@home
@port
def measure_purchases(home: Path, port: int, **size: float) -> None:
    """Purchases a second: two product pages, a cart with two lines, an order paid by card."""
    wanted = msgspec.convert(size, purchases.Size)
    show((purchases.compare if wanted.split else purchases.measure)(home, wanted, port))


@main.command("flash-sale")
@click.option("--sales", default=20, show_default=True)
@click.option("--buyers", default=5_000, show_default=True, help="Buyers in each sale.")
@click.option("--pieces", default=500, show_default=True, help="Pieces in each sale.")
@connections(64)
@processes(1)
@runs
@home
@port
def measure_flash_sale(home: Path, port: int, runs: int, **size: float) -> None:
    """Attempts a second after a SKU that sells out, beside ordinary orders on the same footing."""
    show([flash_sale.measure(home, msgspec.convert(size, flash_sale.Size), port) for _ in range(runs)])


@main.command("mails")
@click.option("--rate", default=100.0, show_default=True, help="Orders a second, whether the shop keeps up or not.")
@click.option("--seconds", default=30.0, show_default=True)
@click.option("--products", default=2_000, show_default=True)
@click.option("--split", is_flag=True, help="Once more in parts (souk up --split), beside the shop in one process.")
@home
@port
def measure_mails(home: Path, port: int, **size: float) -> None:
    """How long after an order's commit the post has the buyer's mail, and where that time is spent."""
    wanted = msgspec.convert(size, mails.Size)
    show([(mails.compare if wanted.split else mails.measure)(home, wanted, port)])


@main.command("brokers")
@click.option("--events", default=20_000, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="For the wait of an event at 100 a second.")
@home
def measure_brokers(home: Path, events: int, seconds: float) -> None:
    """Events a second from an outbox to a consumer in another process: over HTTP, RabbitMQ and Kafka."""
    click.echo(msgspec.json.format(msgspec.json.encode(brokers.measure(home, events, seconds)), indent=2))


@main.command("events")
@click.option("--orders", default=10_000, show_default=True)
@click.option("--broker", type=click.Choice(["kafka", "rabbitmq"]), required=True, help="Gotten by `make engines`.")
@click.option("--wipe", is_flag=True, help="Kill the broker half way, remove all it has, and start it again.")
@connections(64)
@home
@port
def measure_events(home: Path, port: int, **size: float) -> None:
    """Orders through a shop in parts and a broker: who hears of them, how soon, and whether each event was applied once."""
    show([events.measure(home, msgspec.convert(size, events.Size), port)])


@main.command("reads")
@products
@connections(64)
@processes(2)
@seconds
@runs
@home
@port
def measure_reads(home: Path, port: int, **size: float) -> None:
    """Product pages a second."""
    show(reads.measure(home, msgspec.convert(size, reads.Size), port))


@main.command("cache")
@click.option("--products", default=2_000, show_default=True)
@click.option("--askers", default=5_000, show_default=True, help="Requests for one product that has just changed.")
@connections(32)
@home
@port
def measure_cache(home: Path, port: int, **size: float) -> None:
    """What a shared cache saves, with and without, for one process and for four."""
    show([caching.measure(home, msgspec.convert(size, caching.Size), port)])


@main.command("overload")
@click.option("--products", default=2_000, show_default=True)
@click.option("--carts", default=100_000, show_default=True, help="Carts that are filled before, one for each order.")
@click.option("--seconds", default=20.0, show_default=True, help="Of each phase.")
@runs
@home
@port
def measure_overload(home: Path, port: int, runs: int, **size: float) -> None:
    """Orders at twice and five times what the shop can take, on one core."""
    show([overload.measure(home, msgspec.convert(size, overload.Size), port) for _ in range(runs)])


@main.command("growth")
@click.option("--products", default=1_000_000, show_default=True, help="Products of the large shop.")
@click.option("--orders", default=1_000_000, show_default=True, help="Orders of the large shop.")
@connections(64)
@processes(2)
@click.option("--seconds", default=30.0, show_default=True, help="Of each run, three on each shop.")
@home
@port
def measure_growth(home: Path, port: int, **size: float) -> None:
    """What a purchase costs in a large shop, compared with one of ten thousand products and orders."""
    show([growth.measure(home, msgspec.convert(size, growth.Size), port)])


@main.command("campaign")
@click.option("--recipients", default=100_000, show_default=True)
@click.option("--kills", default=10, show_default=True, help="How often the shop dies meanwhile (SIGKILL).")
@click.option("--seed", default=1, show_default=True, help="Of the moments at which it dies.")
@click.option("--feeds", is_flag=True, help="In the shop itself, too: an e-mail and a row of a feed for each recipient.")
@home
@port
def measure_campaign(home: Path, port: int, **size: int) -> None:
    """Recipients of a campaign a second, by e-mail, and whether each got it once although the shop died again and again."""
    show([campaign.measure(home, msgspec.convert(size, campaign.Size), port)])


def show(reports: Sequence[msgspec.Struct]) -> None:
    """One report as it is, several as their medians and ranges."""
    report = reports[0] if len(reports) == 1 else summarise(reports)
    click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())


if __name__ == "__main__":
    main()
