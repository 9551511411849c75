"""The order of tests, and who runs them when workers share a run: whole shops come last, with one worker, when the rest is done."""

import pytest
from xdist.scheduler import LoadFileScheduling

# They start whole shops, of up to a process for each context, or wipe brokers, and some look how long things take: two at once would be
# too much for a laptop. In this order, so that those that look begin when all others have ended.
SHOPS = ("tests/kit/test_broker_faults.py", "tests/deploy/", "tests/journeys/", "tests/crashes/")


def put_shops_last(items: list[pytest.Item]) -> None:
    """Tests of whole shops after all others."""
    items.sort(key=lambda item: next((place for place, folder in enumerate(SHOPS) if item.nodeid.startswith(folder)), -1))


class OneHasShops(LoadFileScheduling):
    """Workers take the next file when they are ready for it; the tests of whole shops are one piece, and the last."""

    def _split_scope(self, nodeid: str) -> str:
        return "shops" if nodeid.startswith(SHOPS) else super()._split_scope(nodeid)
