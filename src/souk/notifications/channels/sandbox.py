"""The sandbox's post: texts to phones over HTTP, and the book in which it keeps what it has taken, letters too."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.kit.lines import NO_ANSWER, Line, Patience, Silent, Unreachable
from souk.notifications.channels.channel import FRESH_S, NOT_YET, Accepted, Later, Letter, Outcome, Refused, Unknown
from souk.notifications.settings import Settings

IN_FLIGHT = 20
PAGE = 10_000


class _Ids(msgspec.Struct, frozen=True):
    ids: tuple[str, ...]


class _Letter(msgspec.Struct, frozen=True):
    letter_id: str


class _Page(msgspec.Struct, frozen=True):
    items: tuple[_Letter, ...]
    next: int | None


class _Detail(msgspec.Struct, frozen=True):
    code: str


class _Problem(msgspec.Struct, frozen=True):
    error: _Detail


class PostBook:
    """What the sandbox has taken, by the ids of our letters."""

    def __init__(self, settings: Settings) -> None:
        self._line = Line(settings.sandbox_url, Patience(3.0, 10.0, IN_FLIGHT))
        self._headers = {"Authorization": f"Bearer {settings.sandbox_api_key}"}

    async def find_accepted(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Which of these it has taken. Raises Silent or Unreachable."""
        answer = await self._line.ask("POST", "/v1/letters/find", self._headers, {"ids": [str(one) for one in ids]})
        if answer.status != 200:
            raise Silent(f"it answered {answer.status}")
        return frozenset(map(UUID, msgspec.json.decode(answer.body, type=_Ids).ids))


    async def count_letters(self) -> Counter[str]:
        """How often each letter stands in it. Raises Silent or Unreachable."""
        found: Counter[str] = Counter()
        after: int | None = 0
        while after is not None:
            answer = await self._line.ask("GET", f"/v1/letters?after={after}&limit={PAGE}", self._headers)
            if answer.status != 200:
                raise Silent(f"it answered {answer.status}")
            page = msgspec.json.decode(answer.body, type=_Page)
            found.update(one.letter_id for one in page.items)
            after = page.next
        return found


class Texts:
    """SMS or push, by the sandbox: it takes a text once for each key."""

    def __init__(self, channel: str, settings: Settings) -> None:
        self._channel = channel
        self._headers = {"Authorization": f"Bearer {settings.sandbox_api_key}"}
        self._line = Line(settings.sandbox_url, Patience(3.0, settings.smtp_timeout_s, IN_FLIGHT))
        self._book = PostBook(settings)
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def deliver(self, letters: Sequence[Letter], offered: set[UUID]) -> Sequence[Outcome]:
        until = time.monotonic() + FRESH_S

        async def bring(letter: Letter) -> Outcome:
            async with self._slots:
                if time.monotonic() >= until:
                    return NOT_YET
                offered.add(letter.id)
                return await self._bring(letter)

        async with self._line.opened():
            return await asyncio.gather(*map(bring, letters))

    async def find_accepted(self, ids: Sequence[UUID]) -> frozenset[UUID] | None:
        return await self._book.find_accepted(ids)

    async def close(self) -> None:
        return None

    async def _bring(self, letter: Letter) -> Outcome:
        headers = {**self._headers, "Idempotency-Key": str(letter.id)}
        body = {"channel": self._channel, "to": letter.to, "text": letter.text}
        try:
            answer = await self._line.ask("POST", "/v1/texts", headers, body)
        except Unreachable as silence:
            return Later(str(silence), silence.retry_after_s)
        except (Silent, *NO_ANSWER) as silence:
            return Unknown(str(silence))
        if answer.status in (200, 201):
            return Accepted()
        if answer.status in (401, 403):
            return Later(f"it does not know us: {answer.status}")
        code = code_in(answer.body)
        return Refused(code, bad_address=code == "recipient_unknown")


def code_in(body: bytes) -> str:
    """Why they refused, in one word."""
    try:
        return msgspec.json.decode(body, type=_Problem).error.code[:100]
    except msgspec.DecodeError:
        return "refused"
