"""REST: what sellers have with the shop, where it is paid to, and what was paid."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from litestar import Request, Response
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream

from souk import payments
from souk.kit.http import ADMIN, SIGNED_IN, Cursor, Limit, Page, make_page, or_text, read_cursor, route, write_cursor
from souk.payments import statements
from souk.payments.payout_types import (
    PayOut,
    Payout,
    PayoutAccount,
    SellerBalances,
    SetPayoutAccount,
    SettlePayout,
    Statement,
    StatementPage,
    StatementWanted,
)

CSV = "text/csv"

InCurrency = Annotated[str, QueryParameter(pattern=r"^[A-Z]{3}(?!\n)$", description="ISO 4217 code")]
Since = Annotated[date | None, QueryParameter(name="from", description="The first day (UTC); by default the first of this month")]
Until = Annotated[date | None, QueryParameter(description="The day after the last one (UTC); by default tomorrow")]
Format = Annotated[Literal["json", "csv"] | None, QueryParameter(description="By default what Accept asks for, else json")]


@route("GET", "/sellers/{seller_id:uuid}/balance", SIGNED_IN, tags=["payouts"])
async def get_seller_balances(seller_id: FromPath[UUID]) -> SellerBalances:
    """What a seller has with the shop by currency, what is on its way to their bank, and when they are paid next; for their team."""
    return await payments.get_seller_balances(seller_id)


@route("PUT", "/sellers/{seller_id:uuid}/payout-account", SIGNED_IN, tags=["payouts"])
async def set_payout_account(seller_id: FromPath[UUID], data: JSONBody[SetPayoutAccount]) -> PayoutAccount:
    """Say where a seller's money of one currency is to go; for its owners. After a change nothing is paid before `payable_from`."""
    return await payments.set_payout_account(seller_id, data)


@route("GET", "/sellers/{seller_id:uuid}/payout-account", SIGNED_IN, tags=["payouts"])
async def list_payout_accounts(seller_id: FromPath[UUID]) -> Page[PayoutAccount]:
    """Where a seller's money goes, one account per currency, the numbers masked; for their team."""
    return Page(await payments.list_payout_accounts(seller_id))


@route("GET", "/sellers/{seller_id:uuid}/payouts", SIGNED_IN, tags=["payouts"])
async def list_payouts(seller_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None) -> Page[Payout]:
    """A seller's payouts, newest first; for their team."""
    after = read_cursor(cursor, tuple[UUID])
    rows = await payments.list_payouts(seller_id, limit + 1, after[0] if after else None)
    return make_page(rows, limit, lambda row: (row.id,))


@route("POST", "/sellers/{seller_id:uuid}/payouts", ADMIN, tags=["payouts"])
async def pay_seller_out(seller_id: FromPath[UUID], data: JSONBody[PayOut]) -> Payout:
    """Pay out now what of a seller's balance is not too young. Send an Idempotency-Key: a repeated request pays once."""
    return await payments.pay_seller_out(seller_id, data)


@route("GET", "/sellers/{seller_id:uuid}/payouts/{payout_id:uuid}", SIGNED_IN, tags=["payouts"])
async def get_payout(seller_id: FromPath[UUID], payout_id: FromPath[UUID]) -> Payout:
    """How a payout stands; for the seller's team."""
    return await payments.get_payout(seller_id, payout_id)


@route("POST", "/sellers/{seller_id:uuid}/payouts/{payout_id:uuid}/settle", ADMIN, status_code=200, tags=["payouts"])
async def settle_payout(seller_id: FromPath[UUID], payout_id: FromPath[UUID], data: JSONBody[SettlePayout]) -> Payout:
    """Say what has become of a payout that its bank contradicts. Look at the bank first; close the discrepancy after."""
    return await payments.settle_payout(seller_id, payout_id, data)


async def read_period(seller_id: FromPath[UUID], currency: InCurrency, since: Since = None, until: Until = None) -> StatementWanted:
    """Of what a statement is wanted."""
    today = datetime.now(UTC).date()
    return StatementWanted(seller_id, currency, since or today.replace(day=1), until or today + timedelta(days=1))


@route(
    "GET", "/sellers/{seller_id:uuid}/statements", SIGNED_IN, tags=["payouts"], operation_class=or_text(CSV),
    dependencies={"wanted": Provide(read_period)},
    responses={200: ResponseSpec(Statement, description="A part of the statement; as CSV all of it")},
)  # fmt: skip
async def read_statement(
    request: Request[object, object, State],
    wanted: NamedDependency[StatementWanted],
    format: Format = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[Statement] | Stream:
    """A seller's statement of one currency, oldest movements first: opening balance, movements of the period and closing balance add up.

    CSV has all movements, in major units; for their team.
    """
    if format == "csv" or (format is None and CSV in request.headers.get("accept", "")):
        first = await payments.read_statement(wanted, statements.ROWS_AT_ONCE)
        return Stream(statements.write_statement(wanted, first), media_type=CSV)
    after = read_cursor(cursor, tuple[UUID])
    return Response(show_page(wanted, await payments.read_statement(wanted, limit + 1, after[0] if after else None), limit))


def show_page(wanted: StatementWanted, part: StatementPage, limit: int) -> Statement:
    """A page out of up to `limit + 1` movements."""
    shown = part.items[:limit]
    more = write_cursor((shown[-1].id,)) if len(part.items) > limit else None
    return Statement(part.seller_id, wanted.since, wanted.until, part.opening, part.closing, shown, more)


routes: tuple[BaseRouteHandler, ...] = (
    get_seller_balances,
    set_payout_account,
    list_payout_accounts,
    list_payouts,
    pay_seller_out,
    get_payout,
    settle_payout,
    read_statement,
)
