"""Who runs which tests when several workers share a run."""

from xdist.scheduler import LoadFileScheduling

# Each of them starts whole shops, of up to a process for each context: two at once would be too much for a laptop.
SHOPS = ("tests/crashes/", "tests/deploy/", "tests/journeys/")


class OneHasShops(LoadFileScheduling):
    """One worker has all tests of whole shops, one after the other; the others have the files of the rest, as they get ready for them."""

    def _split_scope(self, nodeid: str) -> str:
        return "shops" if nodeid.startswith(SHOPS) else super()._split_scope(nodeid)
