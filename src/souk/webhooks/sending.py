"""Sending what waits: every process takes webhooks whose turn it is, and tells each of them one thing after the other."""

import asyncio
import logging
import time
from datetime import UTC, datetime

from prometheus_client import Counter

from souk.kit.db import NOT_NOW
from souk.kit.errors import Unavailable
from souk.webhooks.posting import Outcome, Post, open_post
from souk.webhooks.queueing import news
from souk.webhooks.settings import settings
from souk.webhooks.signing import sign_message
from souk.webhooks.turns import Done, Message, Step, Turn, go_on, let_go, take_turns
from souk.webhooks.verdicts import judge

log = logging.getLogger(__name__)

ATTEMPTS = Counter("souk_webhook_attempts_total", "Attempts to tell a webhook of an event", ["outcome"])

# Something may be due that another process has queued, or that failed before.
LOOK_EVERY_S = 1.0
# After so many messages a webhook lets others go first.
AT_ONE_TURN = 100
# Those that fail or are slow have this share of the places for themselves, and no other.
SHARE_OF_UNSTEADY = 0.25


async def send_forever() -> None:
    """Send what waits until cancelled. Raises what a database that is away raises: then it is begun again."""
    policy = settings.now
    unsteady = max(1, int(policy.in_flight * SHARE_OF_UNSTEADY))
    async with open_post(policy) as post, asyncio.TaskGroup() as lanes:
        lanes.create_task(run_lane(post, steady=True, places=policy.in_flight - unsteady))
        lanes.create_task(run_lane(post, steady=False, places=unsteady))


async def run_lane(post: Post, *, steady: bool, places: int) -> None:
    """Serve webhooks of one kind, so many at a time."""
    busy: set[asyncio.Task[None]] = set()
    try:
        while True:
            # Before we look: what comes while we do is not slept through.
            heard = news.rings
            free = places - len(busy)
            taken = await take_quietly(steady=steady, most=free) if free else ()
            for turn in taken:
                task = asyncio.create_task(serve(post, turn))
                busy.add(task)
                task.add_done_callback(busy.discard)
            if busy and not free:
                await asyncio.wait(busy, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            elif len(taken) < free:
                await news.wait(LOOK_EVERY_S, heard)
    finally:
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def take_quietly(*, steady: bool, most: int) -> tuple[Turn, ...]:
    """The next turns; none while the database cannot be asked."""
    try:
        return await take_turns(steady=steady, most=most)
    except (Unavailable, *NOT_NOW) as silence:
        log.warning("webhooks_interrupted", extra={"reason": str(silence)})
        return ()


async def serve(post: Post, turn: Turn) -> None:
    """Tell a webhook what waits for it, one message after the other, until there is none, one fails, or others are to go first."""
    try:
        sent = 0
        message = await go_on(Step(turn))
        while message is not None:
            done = await deliver(post, message)
            sent += 1
            message = await go_on(Step(turn, done, wants_more=sent < AT_ONE_TURN))
            if message is None and not done.verdict.wait_s and (sent == AT_ONE_TURN or not done.verdict.is_steady):
                news.ring()  # its next turn is due at once, perhaps among those that are slow
    except (Unavailable, *NOT_NOW) as silence:
        log.warning("webhook_turn_lost", extra={"webhook_id": str(turn.id), "reason": str(silence)})
        await let_go_quietly(turn)
    except Exception:
        log.exception("webhook_turn_failed", extra={"webhook_id": str(turn.id)})


async def let_go_quietly(turn: Turn) -> None:
    """End a lost turn, if the database can be reached; if not, its lease runs out."""
    try:
        await let_go(turn)
    except (Unavailable, *NOT_NOW):
        log.warning("webhook_lease_kept", extra={"webhook_id": str(turn.id)})


async def deliver(post: Post, message: Message) -> Done:
    """One attempt, and what follows from it."""
    try:
        outcome = await attempt(post, message)
    except Exception:
        # Whatever it was: what is not written down is never tried less often, and never given up.
        log.exception("webhook_attempt_failed", extra={"webhook_id": str(message.webhook_id), "event_id": str(message.event_id)})
        outcome = Outcome(None, "broken_off", 0)
    policy = settings.now
    ATTEMPTS.labels("delivered" if outcome.is_delivered else outcome.error or f"{(outcome.status or 0) // 100}xx").inc()
    verdict = judge(outcome, message.tries, message.failing_since, datetime.now(UTC), policy)
    if verdict.status == "failed" or verdict.disabled:
        extra = {"webhook_id": str(message.webhook_id), "event_id": str(message.event_id), "disabled": verdict.disabled}
        log.warning("webhook_delivery_failed", extra=extra)
    return Done(message, outcome, verdict)


async def attempt(post: Post, message: Message) -> Outcome:
    """Sign a message and post it. Without a secret that can be opened nothing is sent."""
    body, message_id, sent_at = message.payload.encode(), str(message.event_id), str(int(time.time()))
    signatures = sign_message(message.webhook_id, message.sealed, message_id, sent_at, body)
    if not signatures:
        return Outcome(None, "secret_unreadable", 0)
    headers = {"Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": sent_at, "webhook-signature": signatures}
    return await post.send(message.url, body, headers)
