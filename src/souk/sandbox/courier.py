"""Carries the queued webhooks to the shop, again and again with growing pauses, until it answers 2xx or the tries are used up."""

import asyncio
import logging
import sqlite3
import time
from functools import partial
from random import Random

import aiohttp
import msgspec
from msgspec import Struct

from souk.sandbox.behaviours import Moods
from souk.sandbox.settings import SandboxSettings
from souk.sandbox.webhooks import FORGERS_KEY, is_of_carrier, read_secret, sign
from souk.sandbox.writer import Writer

log = logging.getLogger("souk.sandbox")

MOST_IN_FLIGHT = 64
LONGEST_SLEEP_S = 30.0

FORGET_SENDING = "UPDATE deliveries SET status = 'waiting' WHERE status = 'sending'"
TAKE_DUE = """
    UPDATE deliveries SET status = 'sending' WHERE seq IN (
        SELECT seq FROM deliveries d WHERE status = 'waiting' AND due_at <= ?
        AND NOT EXISTS (SELECT 1 FROM deliveries f WHERE f.seq = d.after_seq AND f.status IN ('waiting', 'sending'))
        ORDER BY due_at, seq LIMIT ?)
    RETURNING seq, event_id, event_type, body, forged, attempts
"""
NEXT_DUE = "SELECT min(due_at) FROM deliveries WHERE status = 'waiting' AND due_at > ?"
RECORD = "UPDATE deliveries SET status = ?, attempts = attempts + 1, last_answer = ?, due_at = ? WHERE seq = ?"
UNTRIED = "SELECT count(*) FROM deliveries WHERE attempts = 0 AND seq = ?"


class Delivery(Struct, frozen=True):
    seq: int
    event_id: str
    event_type: str
    body: bytes
    forged: int
    attempts: int


class Courier:
    def __init__(self, settings: SandboxSettings, writer: Writer, moods: Moods) -> None:
        self._settings = settings
        self._key = read_secret(settings.webhook_secret)
        self._writer = writer
        self._moods = moods
        self._random = Random(settings.seed or None)  # noqa: S311 - spreads retries, guards nothing
        self._woken = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Carry until cancelled. What was on its way when the process died is carried again: the event's id tells the shop so."""
        await self._writer.write(lambda db: db.execute(FORGET_SENDING).rowcount)
        timeout = aiohttp.ClientTimeout(total=self._settings.webhook_timeout_s)
        connector = aiohttp.TCPConnector(limit=MOST_IN_FLIGHT)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            try:
                while True:
                    self._woken.clear()
                    await self._sleep(await self._send_due(session))
            finally:
                for task in self._in_flight:
                    task.cancel()
                await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _send_due(self, session: aiohttp.ClientSession) -> float:
        free = MOST_IN_FLIGHT - len(self._in_flight)
        if free == 0 or self._moods.hold_webhooks:
            return LONGEST_SLEEP_S
        due, next_due_s = await self._writer.write(partial(take_due, most=free))
        for delivery in due:
            task = asyncio.create_task(self._carry(session, delivery))
            self._in_flight.add(task)
            task.add_done_callback(self._landed)
        return next_due_s

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self.wake()

    async def _sleep(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _carry(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        answer = await self._post(session, delivery)
        status, due_at = self._judge(delivery, answer)
        if status != "delivered" and not delivery.forged:
            log.warning("webhook %s got %s, %s", delivery.event_id, answer, status)
        values = (status, answer, due_at, delivery.seq)
        await self._writer.write(lambda db: db.execute(RECORD, values).rowcount)

    async def _post(self, session: aiohttp.ClientSession, delivery: Delivery) -> str:
        timestamp = int(time.time())
        signature = sign(FORGERS_KEY if delivery.forged else self._key, delivery.event_id, timestamp, delivery.body)
        headers = {"content-type": "application/json", "webhook-id": delivery.event_id}
        headers |= {"webhook-timestamp": str(timestamp), "webhook-signature": signature}
        try:
            url = self._door_of(delivery.event_type)
            async with session.post(url, data=delivery.body, headers=headers, allow_redirects=False) as response:
                return str(response.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:  # a shop that is away is the reason to try again
            return type(failure).__name__

    def _door_of(self, event_type: str) -> str:
        """Where the shop wants to hear of this."""
        if is_of_carrier(event_type):
            return self._settings.carrier_webhook_url
        if event_type.startswith("transfer."):
            return self._settings.bank_webhook_url or self._settings.webhook_url
        return self._settings.webhook_url

    def _judge(self, delivery: Delivery, answer: str) -> tuple[str, float]:
        if answer.startswith("2"):
            return "delivered", time.time()
        retries = self._settings.webhook_retries_s
        if delivery.forged or delivery.attempts >= len(retries):
            return "given_up", time.time()
        return "waiting", time.time() + retries[delivery.attempts] * self._random.uniform(1.0, 1.1)


def take_due(db: sqlite3.Connection, most: int) -> tuple[list[Delivery], float]:
    now = time.time()
    due = [msgspec.convert(dict(row), Delivery) for row in db.execute(TAKE_DUE, (now, most))]
    following = db.execute(NEXT_DUE, (now,)).fetchone()[0]
    return due, LONGEST_SLEEP_S if following is None else min(LONGEST_SLEEP_S, max(0.0, float(following) - now))


def count_untried(db: sqlite3.Connection, seq: int) -> int:
    return int(db.execute(UNTRIED, (seq,)).fetchone()[0])
