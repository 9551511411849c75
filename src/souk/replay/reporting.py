"""The end of a replay, as tables for a person."""

from rich.console import Console
from rich.table import Table

from souk.replay.selling import Replayed


def print_tables(replayed: Replayed, console: Console) -> None:
    """Revenue and refunds per month and country, and what was left out."""
    for title, amounts in (("Revenue (GBP)", replayed.revenue), ("Refunds (GBP)", replayed.refunds)):
        console.print(make_table(title, amounts))
    left_out = Table("reason", "lines", title="Left out")
    for reason, lines in replayed.left_out.items():
        left_out.add_row(reason, str(lines))
    console.print(left_out)
    console.print(f"{replayed.orders} orders, {replayed.refunded_lines} returned lines")


def make_table(title: str, amounts: dict[str, dict[str, int]]) -> Table:
    """A row per month, a column for the largest countries, and the sum."""
    totals: dict[str, int] = {}
    for countries in amounts.values():
        for country, pence in countries.items():
            totals[country] = totals.get(country, 0) + pence
    largest = sorted(totals, key=lambda country: -totals[country])[:5]
    table = Table("month", *largest, "others", "all", title=title)
    for month, countries in sorted(amounts.items()):
        shown = [countries.get(country, 0) for country in largest]
        whole = sum(countries.values())
        table.add_row(month, *(f"{pence / 100:,.2f}" for pence in (*shown, whole - sum(shown), whole)))
    return table
