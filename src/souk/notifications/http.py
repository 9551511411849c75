"""All routes of notifications."""

from litestar.handlers import BaseRouteHandler

from souk.notifications import http_alerts, http_campaigns, http_feed, http_history, http_mail, http_preferences

routes: tuple[BaseRouteHandler, ...] = (
    *http_alerts.routes,
    *http_campaigns.routes,
    *http_feed.routes,
    *http_history.routes,
    *http_mail.routes,
    *http_preferences.routes,
)
