"""Fixtures of brokers: one of each kind for the run, and one of a test's own to be mistreated. Lacking ones are skipped and counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engines.brokers import KINDS, Broker, lacking


@pytest.fixture(scope="session", params=list(KINDS))
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that runs for as long as the tests that use it."""
    with run_broker(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(params=list(KINDS))
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Broker]]:
    """Makes a broker of the test's own, which does not run yet."""
    if lack := lacking(request.param):
        pytest.skip(lack)
    made: list[Broker] = []

    def make() -> Broker:
        made.append(KINDS[request.param](tmp_path / f"{request.param}-{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@contextmanager
def run_broker(kind: str, folder: Path) -> Iterator[Broker]:
    """A broker that runs inside; skips the test where there is none."""
    if lack := lacking(kind):
        pytest.skip(lack)
    found = KINDS[kind](folder)
    try:
        found.start()
        yield found
    finally:
        found.kill()
