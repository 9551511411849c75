"""The feed over HTTP: what somebody finds in it, what they do with it, and the stream of what is new."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.types import Scope

from souk.kit.auth import Grant
from souk.kit.callers import Caller, caller, set_caller
from souk.kit.errors import InvalidField, Unauthenticated
from souk.kit.http import SIGNED_IN, TICKET_OR_USER, Cursor, Limit, route
from souk.kit.streams import EventStream, read_position, streams_of
from souk.notifications import announcing, feed, streaming
from souk.notifications.announcing import Announced, NewAnnouncement
from souk.notifications.feed_types import Feed, FeedChange, FeedEvent, FeedFilter, MarkedAll, Notification, ReadAll, StreamTicket, Unread

OnlyUnread = Annotated[bool | None, QueryParameter(description="Only what was not read, or only what was")]
OnlyArchived = Annotated[bool, QueryParameter(description="What was put away, in place of what was not")]
OfTopic = Annotated[str | None, QueryParameter(max_length=40, pattern=r"^[a-z_]+(?!\n)$", description="Only of this topic")]
AfterText = Annotated[str | None, QueryParameter(max_length=40, description="As the header Last-Event-ID, for who cannot send it")]
LastEventId = Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=40, description="The last event that was heard")]
Ticket = Annotated[str | None, QueryParameter(max_length=100, description="In place of a token: POST /notifications/stream-tickets")]

STREAM = {200: ResponseSpec(FeedEvent, description="A stream of such", media_type="text/event-stream", generate_examples=False)}


@route("GET", "/notifications", SIGNED_IN)
async def list_notifications(
    unread: OnlyUnread = None, archived: OnlyArchived = False, topic: OfTopic = None, limit: Limit = 20, cursor: Cursor = None
) -> Feed:
    """Your notifications, the newest first, and how many you have not read."""
    return await feed.list_notifications(None, FeedFilter(unread, archived, topic), limit, cursor)


@route("POST", "/notifications", SIGNED_IN)
async def create_notification(data: JSONBody[NewAnnouncement]) -> Announced:
    """Tell users something (admins), or the buyer of an order something about it (its sellers, too).

    Send an Idempotency-Key. Whether, when and on which channels each of them has it is for their preferences to say.
    """
    return await announcing.send_announcement(data)


@route("GET", "/users/{user_id:uuid}/notifications", SIGNED_IN)
async def list_user_notifications(
    user_id: FromPath[UUID],
    unread: OnlyUnread = None,
    archived: OnlyArchived = False,
    topic: OfTopic = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Feed:
    """A user's notifications, for themselves and for admins."""
    return await feed.list_notifications(user_id, FeedFilter(unread, archived, topic), limit, cursor)


@route("GET", "/notifications/unread-count", SIGNED_IN)
async def count_unread() -> Unread:
    """How many notifications you have not read."""
    return await feed.count_unread()


@route("PATCH", "/notifications/{notification_id:uuid}", SIGNED_IN)
async def change_notification(notification_id: FromPath[UUID], data: JSONBody[FeedChange]) -> Notification:
    """Mark a notification as read or archived, or take that back."""
    return await feed.mark_notification(notification_id, data)


@route("POST", "/notifications/{notification_id:uuid}/read", SIGNED_IN, status_code=200)
async def read_notification(notification_id: FromPath[UUID]) -> Notification:
    """You have read it. A repeated request changes nothing."""
    return await feed.mark_notification(notification_id, FeedChange(read=True))


@route("POST", "/notifications/{notification_id:uuid}/unread", SIGNED_IN, status_code=200)
async def unread_notification(notification_id: FromPath[UUID]) -> Notification:
    """You want to read it once more. A repeated request changes nothing."""
    return await feed.mark_notification(notification_id, FeedChange(read=False))


@route("POST", "/notifications/{notification_id:uuid}/archive", SIGNED_IN, status_code=200)
async def archive_notification(notification_id: FromPath[UUID]) -> Notification:
    """Put it away: it is neither listed nor counted any more. A repeated request changes nothing."""
    return await feed.mark_notification(notification_id, FeedChange(archived=True))


@route("POST", "/notifications/{notification_id:uuid}/unarchive", SIGNED_IN, status_code=200)
async def unarchive_notification(notification_id: FromPath[UUID]) -> Notification:
    """Take it back. A repeated request changes nothing."""
    return await feed.mark_notification(notification_id, FeedChange(archived=False))


@route("POST", "/notifications/read-all", SIGNED_IN, status_code=200)
async def read_all_notifications(data: JSONBody[ReadAll | None] = None) -> MarkedAll:
    """You have read all of them, or those up to the `position` of a list that you were shown."""
    return await feed.mark_all_notifications(data or ReadAll())


@route("DELETE", "/notifications/{notification_id:uuid}", SIGNED_IN)
async def remove_notification(notification_id: FromPath[UUID]) -> None:
    """Remove it from your feed for good."""
    await feed.remove_notification(notification_id)


@route("POST", "/notifications/stream-tickets", SIGNED_IN)
async def create_stream_ticket() -> StreamTicket:
    """A ticket for `GET /notifications/stream?ticket=`, for a browser's EventSource, which sends no access token. It is good once."""
    return await streaming.issue_stream_ticket()


@route("GET", "/notifications/stream", TICKET_OR_USER, cache_control=None, responses=STREAM, media_type="text/event-stream")
async def stream_notifications(
    scope: Scope, last_event_id: LastEventId = None, after: AfterText = None, ticket: Ticket = None
) -> EventStream:
    """Your new notifications as they come, as server-sent events.

    Begin at the `position` of a list, or at the id of the last event that you have heard: nothing in between is left out, and what you
    have already had you know by its id. Without either it begins now. A stream ends with the access token, or the session, that it was
    opened with, and when the server stops; come back then.
    """
    given = last_event_id or after
    place = read_position(given)
    if given and place is None:
        raise InvalidField("Last-Event-ID", "is no id of an event and no position of a list")
    streams, grant = streams_of(scope)
    if grant is None:
        grant = await redeem(ticket)
    streams.check(grant)
    return EventStream(await streaming.open_source(grant.principal.require_user(), place), grant)


async def redeem(ticket: str | None) -> Grant:
    """What a ticket grants, to whoever asks from here on. Raises BadTicket; Unauthenticated if there is none."""
    if ticket is None:
        raise Unauthenticated
    grant = streaming.make_grant(await streaming.redeem_stream_ticket(ticket))
    set_caller(Caller(grant.principal, caller().request_id))
    return grant


routes: tuple[BaseRouteHandler, ...] = (
    list_notifications,
    create_notification,
    list_user_notifications,
    count_unread,
    change_notification,
    read_notification,
    unread_notification,
    archive_notification,
    unarchive_notification,
    read_all_notifications,
    remove_notification,
    create_stream_ticket,
    stream_notifications,
)
