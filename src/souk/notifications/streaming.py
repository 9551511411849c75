"""Live streams of feeds: who listens in this process, what wakes them, and what they are told from where on."""

import asyncio
import hashlib
import logging
import secrets
from uuid import UUID

import msgspec

from souk.kit.auth import Grant
from souk.kit.callers import SYSTEM, Caller, Principal, caller, set_caller
from souk.kit.calls import exposed
from souk.kit.db import NOT_NOW
from souk.kit.errors import Unavailable
from souk.kit.events import event_type
from souk.kit.feeds import WAIT_S
from souk.kit.outbox import LAST_ID, Position, find_horizon, read_outbox
from souk.kit.streams import encode_event
from souk.notifications import feed
from souk.notifications.database import db
from souk.notifications.events import NotificationsSent
from souk.notifications.feed_types import BadTicket, News, StreamTicket, TicketHolder

log = logging.getLogger(__name__)

KEEP_TICKET = "INSERT INTO notifications.stream_ticket (digest, user_id, session_id) VALUES ($1, $2, $3)"
REDEEM = """
    DELETE FROM notifications.stream_ticket WHERE digest = $1 AND created_at > now() - make_interval(secs => $2)
    RETURNING user_id, session_id, created_at
"""
FORGET_TICKETS = "DELETE FROM notifications.stream_ticket WHERE created_at < now() - make_interval(secs => $1)"

TICKET_S = 30
# A stream that a ticket has opened lives no longer than an access token.
TICKET_STREAM_S = 600.0
BATCH = 500
BEGIN_WITHIN_S = 5.0
GO_ON_AFTER_S = 0.5

_read_event = msgspec.json.Decoder(NotificationsSent).decode


class Watch:
    """What is new in which feed, for all streams of this process: one reader of the facts that tell of it, while somebody listens."""

    def __init__(self) -> None:
        self._listening: dict[UUID, set[asyncio.Event]] = {}
        self._following: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._position: Position | None = None

    async def join(self, user_id: UUID, news: asyncio.Event) -> Position:
        """From now on the event is set when something comes into this feed after the place that is returned. Raises Unavailable."""
        self._listening.setdefault(user_id, set()).add(news)
        if self._following is None:
            self._begun = asyncio.Event()
            self._following = asyncio.get_running_loop().create_task(self._follow_forever())
        try:
            async with asyncio.timeout(BEGIN_WITHIN_S):
                await self._begun.wait()
        except BaseException as silence:
            self.leave(user_id, news)
            if isinstance(silence, TimeoutError):
                raise Unavailable("nobody can tell what is new") from silence
            raise
        assert self._position is not None  # noqa: S101  it has begun
        return (self._position[0], LAST_ID)

    def leave(self, user_id: UUID, news: asyncio.Event) -> None:
        """Nobody listens there any more."""
        streams = self._listening.get(user_id, set())
        streams.discard(news)
        if not streams:
            self._listening.pop(user_id, None)
        if not self._listening and self._following is not None:
            self._following.cancel()
            self._following = self._position = None

    async def _follow_forever(self) -> None:
        set_caller(Caller(principal=SYSTEM, request_id="streams"))
        while True:
            try:
                await self._follow()
            except (Unavailable, *NOT_NOW) as silence:
                log.warning("streams_interrupted", extra={"reason": str(silence)})
            except Exception:
                # Whoever listens is to hear what comes next.
                log.exception("streams_failed")
            await asyncio.sleep(GO_ON_AFTER_S)

    async def _follow(self) -> None:
        if self._position is None:
            self._position = await find_horizon("notifications")
            self._begun.set()
        while True:
            facts = await read_outbox("notifications", self._position, BATCH, WAIT_S)
            for fact in facts:
                # Before it is read: one that cannot be read is left behind.
                self._position = fact.position
                if fact.type == event_type(NotificationsSent):
                    self._wake(_read_event(fact.payload).user_ids)

    def _wake(self, user_ids: tuple[UUID, ...]) -> None:
        for user_id in user_ids:
            for news in self._listening.get(user_id, ()):
                news.set()


watch = Watch()


class FeedSource:
    """The news of one feed, for one stream."""

    __slots__ = ("_place", "_user_id", "news")

    def __init__(self, user_id: UUID, news: asyncio.Event, place: Position) -> None:
        self.news = news
        self._user_id = user_id
        self._place = place

    async def read(self) -> bytes:
        """What came after what was told, as events."""
        rows = await feed.read_news(News(self._user_id, *self._place))
        if rows:
            self._place = (rows[-1].xid, rows[-1].place)
        if len(rows) == feed.MOST_NEWS:
            self.news.set()
        return b"".join([encode_event((row.xid, row.place), "notification", msgspec.json.encode(row.show())) for row in rows])

    def close(self) -> None:
        watch.leave(self._user_id, self.news)


async def open_source(user_id: UUID, after: Position | None) -> FeedSource:
    """The news of a feed after a place; from now on if it is none. Raises Unavailable."""
    news = asyncio.Event()
    now = await watch.join(user_id, news)
    return FeedSource(user_id, news, now if after is None else after)


@exposed()
async def issue_stream_ticket() -> StreamTicket:
    """A ticket with which the caller's browser opens a stream: good once, for TICKET_S seconds. Each is a new one."""
    who = caller().principal
    user_id, ticket = who.require_user(), secrets.token_urlsafe(32)
    async with db.transaction() as tx:
        await tx.run(KEEP_TICKET, _digest(ticket), user_id, who.session_id)
    return StreamTicket(ticket, TICKET_S)


@exposed()
async def redeem_stream_ticket(ticket: str) -> TicketHolder:
    """Whose this ticket is. Raises BadTicket if it is none, too old, or was redeemed before."""
    found = await db.write(TicketHolder, REDEEM, _digest(ticket), float(TICKET_S))
    if not found:
        raise BadTicket
    return found[0]


async def forget_old_tickets() -> int:
    """Drop tickets that nobody has used; how many."""
    async with db.transaction() as tx:
        return await tx.run(FORGET_TICKETS, float(TICKET_S))


def make_grant(holder: TicketHolder) -> Grant:
    """What a ticket grants: as long as the session that it was issued to is not revoked, and no longer than an access token."""
    issued_at = holder.created_at.timestamp()
    return Grant(Principal("user", holder.user_id, session_id=holder.session_id), issued_at, issued_at + TICKET_STREAM_S)


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
