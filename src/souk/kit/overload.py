"""When there is more to do than can be done: how long work waits in this process before it is begun, and who is sent away early.

Requests that are taken in although they will wait too long cost as much as those that succeed, and their clients have given up by
then (the metastable overload that AWS' builders' library and Google's SRE book describe). As in CoDel (RFC 8289) it is the time
in the queue that tells, not the number of requests: a slow card processor makes many requests wait, and the process is idle.
"""

import asyncio
from typing import Final

# A wait that was seen counts for this long. A queue that has been emptied since is not an overload any more.
SEEN_FOR_S: Final = 0.1
# A request passes some eight queues; reading may be asked again without loss, so that it goes first.
LONGEST_WAIT_READING_S: Final = 0.08
LONGEST_WAIT_WRITING_S: Final = 0.16
LOOK_EVERY_S: Final = 0.02

READING = frozenset(("GET", "HEAD", "OPTIONS"))
# Who watches the shop has to be answered when it is at its worst.
ALWAYS = ("/health/", "/metrics")


class Overload:
    """The longest wait that was seen a moment ago: of the event loop for its turn, or of a request for its batch."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._seen_at = 0.0

    def note(self, waited_s: float, now: float) -> None:
        """Something was begun after so long a wait."""
        if waited_s >= self._waited_s or now - self._seen_at > SEEN_FOR_S:
            self._waited_s, self._seen_at = waited_s, now

    def sheds(self, method: str, path: str, now: float) -> bool:
        """Whether a request that comes now is to be sent away."""
        longest_s = LONGEST_WAIT_READING_S if method in READING else LONGEST_WAIT_WRITING_S
        return self._waited_s > longest_s and now - self._seen_at <= SEEN_FOR_S and not path.startswith(ALWAYS)

    async def watch(self) -> None:
        """Forever: see how late the event loop comes to what is due."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            now = loop.time()
            self.note(now - due, now)


# One per process, as there is one event loop.
overload = Overload()
