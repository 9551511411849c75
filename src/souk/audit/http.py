"""REST: the audit."""

from typing import Annotated

from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from souk import audit
from souk.audit import Report
from souk.kit.http import ADMIN, route

Settled = Annotated[
    bool, QueryParameter(description="Read the books of gateways; check the rules, too, that hold only when nothing is under way")
]


@route("GET", "/audit", ADMIN, tags=["operations"])
async def audit_books(settled: Settled = False) -> Report:
    """Prove the rules that the books keep, and name the rows that break one. Takes seconds; locks nothing."""
    return await audit.check_books(settled=settled)


routes: tuple[BaseRouteHandler, ...] = (audit_books,)
