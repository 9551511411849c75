"""All routes of notifications."""

from litestar.handlers import BaseRouteHandler

from souk.notifications import http_feed

routes: tuple[BaseRouteHandler, ...] = (*http_feed.routes,)
