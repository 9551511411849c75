"""The public API of a whole shop in this process. To put its routes together takes half a second: that is done once for a run."""

from functools import cache

from souk import app
from souk.app import Settings, Shop
from souk.kit.auth import Verifier
from souk.kit.cors import Cors
from souk.kit.fastpath import FastRoutes
from souk.kit.front import App, Front


@cache
def put_together() -> tuple[App, FastRoutes]:
    made = app.make_public_app(Shop(Settings(), dict.fromkeys(app.CONTEXTS, ""), {}), Verifier())
    return made.app, made._fast


def make_front(verifier: Verifier) -> Front:
    """The API of every context, before an edge of the test's own."""
    return Front(*put_together(), verifier, Cors(()))
