"""E-mail: letters over SMTP to the shop's relay, or to another one when that has been down for a while."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from souk.notifications.channels.channel import FRESH_S, NOT_YET, Later, Letter, Outcome, Refused
from souk.notifications.channels.dkim import Signer, read_key
from souk.notifications.channels.relays import Relay
from souk.notifications.channels.smtp import Closed, Place
from souk.notifications.channels.writing import write_letter
from souk.notifications.sealing import write_envelope_sender
from souk.notifications.settings import Settings

# How soon letters are tried again that nobody was there to take.
AGAIN_AFTER_S = 10.0


class Book(Protocol):
    """Somewhere to read which letters were taken."""

    async def find_accepted(self, ids: Sequence[UUID]) -> frozenset[UUID] | None: ...


class Email:
    """The carrier of letters. Its conversations stay open as long as there is something to carry."""

    def __init__(self, settings: Settings, book: Book | None = None) -> None:
        self._settings = settings
        self._book = book
        self._relays = [
            Relay(place, settings.smtp_connections, settings.smtp_letters) for place in (_main_place(settings), *_other_places(settings))
        ]
        self._signer: Signer | None = None
        if settings.dkim_key:
            read_key(settings.dkim_key)
            self._signer = Signer(settings.dkim_domain or settings.from_domain, settings.dkim_selector, settings.dkim_key)

    async def deliver(self, letters: Sequence[Letter], offered: set[UUID]) -> Sequence[Outcome]:
        """What became of each. As many are under way as there are conversations."""
        outcomes: list[Outcome] = [NOT_YET] * len(letters)
        waiting = deque(enumerate(letters))
        until = time.monotonic() + FRESH_S

        async def carry_some() -> None:
            while waiting and time.monotonic() < until:
                place, letter = waiting.popleft()
                outcomes[place] = await self._carry(letter, until, offered)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._settings.smtp_connections, len(letters))):
                group.create_task(carry_some())
        return outcomes

    async def find_accepted(self, ids: Sequence[UUID]) -> frozenset[UUID] | None:
        return await self._book.find_accepted(ids) if self._book is not None else None

    async def close(self) -> None:
        for relay in self._relays:
            await relay.close()

    async def _carry(self, letter: Letter, until: float, offered: set[UUID]) -> Outcome:
        if not letter.to.isascii() or any(one in letter.to for one in "<> \r\n"):
            return Refused("no address", bad_address=True)
        try:
            raw = write_letter(letter, self._settings, self._signer)
        except ValueError as mistake:
            return Refused(str(mistake))
        sender = write_envelope_sender(letter.id, letter.to)
        reason = ""
        for relay in self._choose():
            try:
                async with relay.conversation((letter.advertises, until)) as conversation:
                    # It may have waited for its turn there, too.
                    if time.monotonic() >= until:
                        return NOT_YET
                    return await conversation.carry(sender, letter.to, raw, partial(offered.add, letter.id))
            except Closed as closed:
                reason = str(closed)
        return Later(f"the relay {reason}", AGAIN_AFTER_S, tried=False)

    def _choose(self) -> list[Relay]:
        """The relays to ask: the first alone, until it has been down for a while."""
        first, *others = self._relays
        return [first, *others] if first.down_s >= self._settings.smtp_fallback_after_s else [first]


def _main_place(settings: Settings) -> Place:
    return _place(settings, settings.smtp_host, settings.smtp_port)


def _other_places(settings: Settings) -> list[Place]:
    found = (one.rpartition(":") for one in settings.smtp_fallback)
    return [_place(settings, host, int(port)) for host, _, port in found]


def _place(settings: Settings, host: str, port: int) -> Place:
    return Place(
        host,
        port,
        settings.smtp_security,
        settings.smtp_username,
        settings.smtp_password,
        settings.smtp_verify,
        settings.smtp_timeout_s,
        settings.smtp_answer_timeout_s,
        settings.from_domain,
    )
