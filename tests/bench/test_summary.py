"""Several runs are told by their medians and ranges."""

import msgspec
from bench.summary import Summary, summarise


class Report(msgspec.Struct, frozen=True):
    rate: float
    cpu: dict[str, float]
    floor: float | None = None


def test_the_median_and_the_range_of_each_figure() -> None:
    reports = [Report(10.0, {"shop": 1.0}, 5.0), Report(30.0, {"shop": 3.0}), Report(20.0, {"shop": 2.0}, 6.0)]
    assert summarise(reports) == Summary(
        runs=3, median={"rate": 20.0, "cpu.shop": 2.0}, lowest={"rate": 10.0, "cpu.shop": 1.0}, highest={"rate": 30.0, "cpu.shop": 3.0}
    )
