"""Of what somebody wants to be told, over HTTP."""

from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from souk.kit.callers import caller
from souk.kit.http import SIGNED_IN, route
from souk.notifications import preferences
from souk.notifications.preferences import NotificationPreferences
from souk.users import SetNotifications


@route("GET", "/notifications/preferences", SIGNED_IN)
async def get_notification_preferences() -> NotificationPreferences:
    """Of what you are told on which channel, and what of it you cannot switch off; the same as in your preferences."""
    return await preferences.get_notification_preferences(caller().principal.require_user())


@route("PUT", "/notifications/preferences", SIGNED_IN)
async def set_notification_preferences(data: JSONBody[SetNotifications]) -> NotificationPreferences:
    """Say of what you want to be told, on which channel and when; what is left out goes back to its default."""
    return await preferences.set_notification_preferences(caller().principal.require_user(), data)


routes: tuple[BaseRouteHandler, ...] = (get_notification_preferences, set_notification_preferences)
