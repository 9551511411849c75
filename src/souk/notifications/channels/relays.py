"""A relay as a pool of conversations, and which of two relays is asked while one of them is down."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from souk.notifications.channels.smtp import Closed, Conversation, Place, open_conversation
from souk.notifications.channels.turns import Rank, Turns

# After a relay could not be reached it is left alone for a moment: its letters wait as a whole, not one by one.
LEFT_ALONE_S = 5.0
# A server that closes what nobody uses has not done so yet.
IDLE_S = 20.0
# Most relays allow a sender a few connections at once. One that has said that another is too many is not asked for it again so soon.
FEWER_FOR_S = 60.0


class Relay:
    """So many conversations at the most; each carries letter after letter."""

    def __init__(self, place: Place, connections: int, letters: int) -> None:
        self.place = place
        self.down_since: float | None = None
        self._tried_at = 0.0
        self._probe: asyncio.Task[None] | None = None
        self._turns = Turns(connections)
        # Conversations that somebody is in, or about to open.
        self._begun = 0
        self._idle: list[tuple[Conversation, float]] = []
        self._letters = letters

    @property
    def down_s(self) -> float:
        """For how long it could not be reached."""
        return 0.0 if self.down_since is None else time.monotonic() - self.down_since

    @asynccontextmanager
    async def conversation(self, rank: Rank) -> AsyncIterator[Conversation]:
        """One of the conversations, for a letter, when it is the next; raises Closed if there can be none now."""
        while True:
            async with self._turns.turn(rank):
                conversation = self._find_idle() or await self._open()
                if conversation is not None:
                    async with self._talk_in(conversation):
                        yield conversation
                    return
                # One of those that they let us have will carry it.
                self._turns.keep_back(FEWER_FOR_S)

    @asynccontextmanager
    async def _talk_in(self, conversation: Conversation) -> AsyncIterator[None]:
        self._begun += 1
        try:
            yield
        finally:
            self._begun -= 1
            if conversation.open and conversation.letters < self._letters:
                self._idle.append((conversation, time.monotonic()))
            else:
                await conversation.quit()

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        for conversation, _ in self._idle:
            await conversation.quit()
        self._idle.clear()

    def _find_idle(self) -> Conversation | None:
        while self._idle:
            conversation, since = self._idle.pop()
            if conversation.open and time.monotonic() - since < IDLE_S:
                return conversation
            conversation.close()
        return None

    async def _open(self) -> Conversation | None:
        if self.down_since is not None:
            # Whether it is back is found out beside the letters: one that swallows everything would hold each for its whole patience.
            if (self._probe is None or self._probe.done()) and time.monotonic() - self._tried_at >= LEFT_ALONE_S:
                self._probe = asyncio.create_task(self._find_out())
            raise Closed("cannot be reached")
        return await self._try()

    async def _find_out(self) -> None:
        with suppress(Closed):
            if (found := await self._try()) is not None:
                self._idle.append((found, time.monotonic()))

    async def _try(self) -> Conversation | None:
        """Another conversation; None if they say that it is one too many. Raises Closed if they want none, or do not answer."""
        began = time.monotonic()
        self._begun += 1
        try:
            conversation = await open_conversation(self.place)
        except Closed as closed:
            if closed.said and self._begun > 1:
                self.down_since = None
                return None
            self._tried_at = time.monotonic()
            self.down_since = self.down_since or began
            self._turns.give_all_back()
            raise
        finally:
            self._begun -= 1
        self.down_since = None
        return conversation
