"""Several runs in one report: medians and ranges."""

import statistics
from collections.abc import Iterator, Sequence

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """The median of each figure over the runs, and its lowest and highest value; figures of groups are named `group.figure`."""

    runs: int
    median: dict[str, float]
    lowest: dict[str, float]
    highest: dict[str, float]


def summarise(reports: Sequence[msgspec.Struct]) -> Summary:
    """The figures of reports of one kind. What is missing in one of them (None) is left out of all."""
    told = [dict(flatten(msgspec.to_builtins(report))) for report in reports]
    figures = {name: [one[name] for one in told] for name in told[0] if all(name in one for one in told)}
    return Summary(
        runs=len(told),
        median={name: statistics.median(values) for name, values in figures.items()},
        lowest={name: min(values) for name, values in figures.items()},
        highest={name: max(values) for name, values in figures.items()},
    )


def flatten(report: dict[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a report by its name."""
    for name, value in report.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value
