"""Alerts over HTTP."""

from typing import Annotated

from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from souk.kit.http import ADMIN, Cursor, Limit, Page, route
from souk.notifications import alerts
from souk.notifications.alert_types import AlertFilter, RaisedAlert

Wanted = Annotated[AlertFilter, QueryParameter(description="Those that are open, that are over, or all")]


@route("GET", "/alerts", ADMIN, tags=["operations"])
async def list_alerts(status: Wanted = "open", limit: Limit = 20, cursor: Cursor = None) -> Page[RaisedAlert]:
    """What is wrong in the shop: late events, dead letters, broken rules, failing jobs, errors, a full disk; the newest first."""
    return await alerts.list_raised_alerts(status, limit, cursor)


routes: tuple[BaseRouteHandler, ...] = (list_alerts,)
