"""REST: the wallet, its statements, transfers out of it, and money that is held."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid5

import msgspec
from litestar import Response
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from souk import payments
from souk.kit.callers import caller
from souk.kit.errors import InvalidField
from souk.kit.http import SIGNED_IN, Cursor, Limit, Page, make_page, or_text, read_cursor, route
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments.types import DepositMoney, Payment
from souk.payments.wallet_statements import MOST_IN_A_FILE, write_statement
from souk.payments.wallet_types import (
    Hold,
    HoldMoney,
    HoldStatus,
    Moment,
    MoveMoney,
    PostHold,
    SendMoney,
    StatementRequest,
    VoidHold,
    Wallet,
    WalletEntry,
    WalletStatement,
    WalletTransfer,
)

CSV = "text/csv"

WalletCurrency = Annotated[str, QueryParameter(pattern=r"^[A-Z]{3}(?!\n)$", description="ISO 4217 code")]
From = Annotated[datetime | None, QueryParameter(name="from", description="With its offset; by default the first of this month in UTC")]
Until = Annotated[datetime | None, QueryParameter(description="With its offset, not included; by default now")]
StatusOfHold = Annotated[HoldStatus | None, QueryParameter(description="By default all of them")]

ForShop = Annotated[bool, QueryParameter(description="What is held for the shop; for admins")]


class SellerBalance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The balance of a seller whom you own."""

    seller_id: UUID


class TransferMoney(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Out of one's wallet to another user (`to_user_id`) or one's seller (`to`), or from that seller to one's wallet (`from`)."""

    amount: Money
    to_user_id: UUID | None = None
    from_: SellerBalance | None = msgspec.field(default=None, name="from")
    to: SellerBalance | None = None


class ReleaseHold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of held money goes on: all of it without an amount. `to_seller_id` is for admins, and for what is held for the shop."""

    amount: Money | None = None
    to_seller_id: UUID | None = None


def request_id(of: UUID) -> UUID:
    """The id of what this request makes: the same again for the same Idempotency-Key of the same caller, else a new one."""
    who = caller()
    return uuid5(of, f"{who.principal.subject}:{who.idempotency_key}") if who.idempotency_key else new_id()


@route("GET", "/wallet", SIGNED_IN, tags=["wallet"])
async def get_wallet() -> Wallet:
    """One's money with the shop, per currency: all of it, what of it is held, and what can be spent."""
    return await payments.get_wallet()


@route("GET", "/wallet/entries", SIGNED_IN, tags=["wallet"])
async def list_wallet_entries(currency: WalletCurrency, limit: Limit = 50, cursor: Cursor = None) -> Page[WalletEntry]:
    """How money came into one's wallet and left it, newest first."""
    after = read_cursor(cursor, tuple[UUID])
    rows = await payments.list_wallet_entries(currency, limit + 1, after[0] if after else None)
    return make_page(rows, limit, lambda row: (row.id,))


@route(
    "GET", "/wallet/statement", SIGNED_IN, tags=["wallet"], operation_class=or_text(CSV),
    responses={200: ResponseSpec(WalletStatement, description="A page of the statement, or as CSV all of it", generate_examples=False)},
)  # fmt: skip
async def get_wallet_statement(
    currency: WalletCurrency,
    begins_at: From = None,
    until: Until = None,
    format: FromQuery[Literal["json", "csv"]] = "json",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[WalletStatement | bytes]:
    """The movements of a period, oldest first, with the balance after each; the opening balance and all of them make the closing one.

    As CSV the whole period is one file, amounts in major units.
    """
    now = datetime.now(UTC)
    begin, end = begins_at or datetime(now.year, now.month, 1, tzinfo=UTC), until or now
    for name, moment in (("from", begin), ("until", end)):
        if moment.tzinfo is None:
            raise InvalidField(name, "is to have an offset, such as Z")
    if format == "csv":
        return await write_file(StatementRequest(currency, begin, end))
    # A period that ends now ends on every page when it did on the first.
    after, end = read_cursor(cursor, tuple[UUID, Moment]) or (None, end)
    statement = await payments.get_wallet_statement(StatementRequest(currency, begin, end, after), limit + 1)
    page = make_page(statement.items, limit, lambda line: (line.id, end))
    return Response(msgspec.structs.replace(statement, items=page.items, next=page.next))


async def write_file(request: StatementRequest) -> Response[WalletStatement | bytes]:
    """A statement as a file; raises InvalidField for a period that has too much in it for one."""
    statement = await payments.get_wallet_statement(request, MOST_IN_A_FILE + 1)
    if len(statement.items) > MOST_IN_A_FILE:
        raise InvalidField("from", f"is to be later: a file has at most {MOST_IN_A_FILE} movements")
    return Response(write_statement(statement), media_type=CSV)


@route("POST", "/wallet/deposits", SIGNED_IN, tags=["wallet"])
async def deposit_money(data: JSONBody[DepositMoney]) -> Payment:
    """Pay money into one's wallet; it is there when the payment is captured."""
    return await payments.deposit_money(data)


@route("POST", "/wallet/transfers", SIGNED_IN, tags=["wallet"])
async def transfer_money(data: JSONBody[TransferMoney]) -> WalletTransfer:
    """Send money to another user's wallet, or move it between one's wallet and the balance of one's seller, in one currency."""
    match data:
        case TransferMoney(to_user_id=UUID() as user_id, from_=None, to=None):
            return await payments.send_money(SendMoney(user_id, data.amount))
        case TransferMoney(to_user_id=None, from_=SellerBalance(seller_id=seller_id), to=None):
            return await payments.move_money(MoveMoney(seller_id, data.amount))
        case TransferMoney(to_user_id=None, from_=None, to=SellerBalance(seller_id=seller_id)):
            return await payments.move_money(MoveMoney(seller_id, data.amount, to_seller=True))
    raise InvalidField("to_user_id", "or `to` or `from` is to say where the money goes or comes from: one of them")


@route("POST", "/wallet/holds", SIGNED_IN, tags=["wallet"])
async def hold_money(data: JSONBody[HoldMoney]) -> Hold:
    """Set money of one's wallet aside until a time, for another user or for the shop. What nobody posts until then is back."""
    return await payments.hold_money(data)


@route("GET", "/wallet/holds", SIGNED_IN, tags=["wallet"])
async def list_holds(status: StatusOfHold = None, for_shop: ForShop = False, limit: Limit = 50, cursor: Cursor = None) -> Page[Hold]:
    """What one holds and what is held for one, newest first."""
    after = read_cursor(cursor, tuple[UUID])
    rows = await payments.list_holds(limit + 1, after[0] if after else None, status, for_shop)
    return make_page(rows, limit, lambda row: (row.id,))


@route("GET", "/wallet/holds/{hold_id:uuid}", SIGNED_IN, tags=["wallet"])
async def get_hold(hold_id: FromPath[UUID]) -> Hold:
    """A hold, for who holds it, for whom it is held, and admins."""
    return await payments.get_hold(hold_id)


@route("POST", "/wallet/holds/{hold_id:uuid}/post", SIGNED_IN, status_code=200, tags=["wallet"])
async def post_hold(hold_id: FromPath[UUID], data: JSONBody[ReleaseHold]) -> Hold:
    """Let held money go to whom it is held for, all of it or a part; the rest goes back. For who holds it, and admins."""
    return await payments.post_hold(PostHold(hold_id, request_id(hold_id), data.amount, data.to_seller_id))


@route("POST", "/wallet/holds/{hold_id:uuid}/void", SIGNED_IN, status_code=200, tags=["wallet"])
async def void_hold(hold_id: FromPath[UUID]) -> Hold:
    """Give held money back. For whom it is held for, and admins."""
    return await payments.void_hold(VoidHold(hold_id, request_id(hold_id)))


routes: tuple[BaseRouteHandler, ...] = (
    get_wallet,
    list_wallet_entries,
    get_wallet_statement,
    deposit_money,
    transfer_money,
    hold_money,
    list_holds,
    get_hold,
    post_hold,
    void_hold,
)
