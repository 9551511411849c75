"""The parts of a running sandbox, and the clock that closes what nobody came back to."""

import asyncio
import fcntl
import secrets
import time
from functools import partial
from typing import TextIO

from souk.sandbox import book, checkouts, disputes, parcels, transfers
from souk.sandbox.behaviours import Moods
from souk.sandbox.certificates import make_context
from souk.sandbox.courier import Courier, count_untried
from souk.sandbox.mail_server import MailServer, PostOffice
from souk.sandbox.post_habits import PostMoods
from souk.sandbox.post_reports import Reporter
from souk.sandbox.settings import SandboxSettings
from souk.sandbox.webhooks import Outbox
from souk.sandbox.writer import Writer

LONGEST_SLEEP_S = 60.0
LONGEST_WAIT_FOR_WEBHOOK_S = 5.0


class World:
    def __init__(self, settings: SandboxSettings, schema: str) -> None:
        self.settings = settings
        self.moods = Moods()
        self.writer = Writer(settings.home / "sandbox.db", schema)
        self.outbox = Outbox(settings)
        self.courier = Courier(settings, self.writer, self.moods)
        self.post_moods = PostMoods(settings.seed)
        self.reporter = Reporter(settings, self.writer)
        self._mail: MailServer | None = None
        self._closing = asyncio.Event()
        self._woken = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._lock: TextIO | None = None

    async def open(self, host: str = "127.0.0.1") -> None:
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self._lock = lock_home(self.settings)
        await self.writer.open()
        birth = str(self.settings.seed) if self.settings.seed else secrets.token_hex(16)
        await self.writer.write(partial(book.mark_birth, birth=birth))
        self._tasks = (asyncio.create_task(self.courier.run()), asyncio.create_task(self._run_clock()))
        if self.settings.mail_port:
            await self._open_mail(host)

    async def _open_mail(self, host: str) -> None:
        office = PostOffice(self.writer, self.post_moods, self.pause, self.reporter.tell_later)
        security = self.settings.mail_security
        context = None if security == "none" else make_context(self.settings.home)
        self._mail = MailServer(office, self.settings.api_key, context, implicit=security == "tls")
        await self._mail.open(host, self.settings.mail_port)

    async def close(self) -> None:
        self.release_waiting()
        if self._mail is not None:
            await self._mail.close()
        await self.reporter.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.writer.close()
        if self._lock is not None:
            self._lock.close()

    def release_waiting(self) -> None:
        """Let every call that plays slow answer now, so that a sandbox which is told to end does end."""
        self._closing.set()

    async def pause(self, seconds: float) -> None:
        await wait_for(self._closing, seconds)

    async def wait_until_tried(self, deliveries: tuple[int, ...]) -> None:
        """Return when every one of these was carried to the shop's door once, whatever it said there."""
        until = time.monotonic() + LONGEST_WAIT_FOR_WEBHOOK_S
        while time.monotonic() < until and not self._closing.is_set():
            untried = [await self.writer.write(partial(count_untried, seq=seq)) for seq in deliveries]
            if not any(untried):
                return
            await self.pause(0.01)

    def wake(self) -> None:
        self._woken.set()
        self.courier.wake()

    async def _run_clock(self) -> None:
        while True:
            self._woken.clear()
            clocks = (
                checkouts.expire_checkouts,
                disputes.advance_disputes,
                transfers.carry_on,
                partial(parcels.move_parcels, moods=self.moods),
            )
            following = [await self.writer.write(partial(clock, outbox=self.outbox)) for clock in clocks]
            self.courier.wake()
            next_s = min((moment - time.time() for moment in following if moment is not None), default=LONGEST_SLEEP_S)
            sleep_s = min(LONGEST_SLEEP_S, max(0.0, next_s))
            await wait_for(self._woken, sleep_s)


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def lock_home(settings: SandboxSettings) -> TextIO:
    """Keep a second sandbox out of the same home: both would carry the same webhooks. The system frees the lock of a killed process."""
    held = (settings.home / "sandbox.lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise RuntimeError(f"another sandbox works in {settings.home}") from None
    return held
