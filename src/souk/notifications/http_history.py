"""What became of messages, over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from souk.kit.http import ADMIN, SIGNED_IN, Cursor, Limit, Page, route
from souk.notifications import records
from souk.notifications.records import MessageFilter, MessageRecord
from souk.notifications.types import Channel, MessageStatus

OfUser = Annotated[UUID | None, QueryParameter(description="To this user")]
OfKind = Annotated[str | None, QueryParameter(max_length=40, pattern=r"^[a-z_]+(?!\n)$", description="Of this kind")]
OfStatus = Annotated[MessageStatus | None, QueryParameter(description="That stand so")]
OfChannel = Annotated[Channel | None, QueryParameter(description="On this channel")]
OfNotice = Annotated[UUID | None, QueryParameter(description="That tell of this, or belong to this campaign")]


@route("GET", "/notifications/history", SIGNED_IN)
async def list_history(
    kind: OfKind = None, status: OfStatus = None, channel: OfChannel = None, limit: Limit = 20, cursor: Cursor = None
) -> Page[MessageRecord]:
    """All that you were told on any channel, are to be told, and were not told, with the reason."""
    return await records.list_own_messages(MessageFilter(None, kind, status, channel), limit, cursor)


@route("GET", "/notifications/messages", ADMIN)
async def list_messages(  # noqa: PLR0913, PLR0917  one for each parameter of the query
    user_id: OfUser = None,
    kind: OfKind = None,
    status: OfStatus = None,
    channel: OfChannel = None,
    notice_id: OfNotice = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[MessageRecord]:
    """What became of messages to anybody, and why what was not sent was not."""
    return await records.list_messages(MessageFilter(user_id, kind, status, channel, notice_id), limit, cursor)


routes: tuple[BaseRouteHandler, ...] = (list_history, list_messages)
