"""Money of a wallet that is set aside until a time: held, then posted, voided or expired, and only one of these.

Whoever gives money up by a step decides on it: who holds it posts, for whom it is held voids, and an admin may do either. What is
held for the shop is an admin's to post and void. A hold whose time is over cannot be posted; its money is back when the job has
passed, or at once when somebody tries to resolve it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk import users
from souk.kit.callers import Principal, caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import Forbidden, InvalidField
from souk.kit.events import Event, publish
from souk.kit.idempotency import IdempotencyKeyReused, once
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.events import HoldPosted, HoldReleased, MoneyHeld, WalletCredited
from souk.payments.ledger import Account, Transfer
from souk.payments.settings import settings
from souk.payments.types import CurrencyMismatch
from souk.payments.wallet_types import (
    Hold,
    HoldMoney,
    HoldNotFound,
    HoldResolved,
    HoldStatus,
    InsufficientFunds,
    PostHold,
    PostTooLarge,
    VoidHold,
    WalletNotFound,
)
from souk.payments.wallets import HAS_WALLET, check_amount

# The clock is read when a row is there, after any wait for its lock: what is over then is over.
COLUMNS = """
    h.id, h.user_id, h.to_user_id, h.to_seller_id, h.currency, h.amount, h.posted, h.status, h.expires_at, h.resolution_id, h.resolved_at,
    h.created_at, h.updated_at, clock_timestamp() AS seen_at
"""
FIND_HOLD = f"SELECT {COLUMNS} FROM payments.hold AS h WHERE h.id = $1"
# As it is shown: what is over is expired, whether the job has passed or not.
OF_STATUS = """
    ($1::text IS NULL OR $1 = CASE WHEN h.status = 'open' AND h.expires_at <= clock_timestamp() THEN 'expired' ELSE h.status END)
"""
LIST_HOLDS = f"""
    SELECT * FROM (
        (SELECT {COLUMNS} FROM payments.hold AS h
         WHERE h.user_id = $4 AND ($2::uuid IS NULL OR h.id < $2) AND {OF_STATUS} ORDER BY h.id DESC LIMIT $3)
        UNION ALL
        (SELECT {COLUMNS} FROM payments.hold AS h
         WHERE h.to_user_id = $4 AND ($2::uuid IS NULL OR h.id < $2) AND {OF_STATUS} ORDER BY h.id DESC LIMIT $3)
    ) AS hold
    ORDER BY id DESC
    LIMIT $3
"""
LIST_FOR_SHOP = f"""
    SELECT {COLUMNS} FROM payments.hold AS h
    WHERE h.to_user_id IS NULL AND ($2::uuid IS NULL OR h.id < $2) AND {OF_STATUS} ORDER BY h.id DESC LIMIT $3
"""
OPEN_HOLD = f"""
    INSERT INTO payments.hold AS h (id, user_id, to_user_id, currency, amount, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (id) DO NOTHING
    RETURNING {COLUMNS}
"""
# Holds are locked before wallets, but for a new one, which nobody can wait for before it is there.
LOCK_HOLDS = f"""
    WITH h AS MATERIALIZED (SELECT * FROM payments.hold WHERE id = ANY($1) ORDER BY id FOR UPDATE)
    SELECT {COLUMNS} FROM h ORDER BY h.id
"""
FIND_DUE = "SELECT id FROM payments.hold WHERE status = 'open' AND expires_at <= now() ORDER BY expires_at LIMIT $1"
RESOLVE_HOLDS = f"""
    UPDATE payments.hold AS h SET
        status = u.status, posted = u.posted, to_seller_id = u.to_seller_id, resolution_id = u.resolution_id,
        resolved_by = u.resolved_by, resolved_at = u.resolved_at, updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::uuid[], $6::uuid[], $7::timestamptz[])
        AS u (id, status, posted, to_seller_id, resolution_id, resolved_by, resolved_at)
    WHERE h.id = u.id AND h.status = 'open'
    RETURNING {COLUMNS}
"""

EXPIRED_AT_ONCE = 500


class HoldRow(msgspec.Struct, frozen=True):
    """A hold as its row says, at the moment at which it was read."""

    id: UUID
    user_id: UUID
    to_user_id: UUID | None
    to_seller_id: UUID | None
    currency: str
    amount: int
    posted: int
    status: HoldStatus
    expires_at: datetime
    resolution_id: UUID | None
    resolved_at: datetime | None
    created_at: datetime
    updated_at: datetime
    seen_at: datetime

    def money(self, amount: int) -> Money:
        return Money(amount, self.currency)

    @property
    def is_over(self) -> bool:
        """Whether its time is over and nobody has resolved it."""
        return self.status == "open" and self.expires_at <= self.seen_at


class Resolution(msgspec.Struct, frozen=True):
    """How an open hold ends."""

    hold: HoldRow
    status: HoldStatus
    posted: int = 0
    to_seller_id: UUID | None = None
    resolution_id: UUID | None = None
    resolved_by: UUID | None = None


class _Key(msgspec.Struct, frozen=True):
    id: UUID


@exposed()
async def hold_money(request: HoldMoney) -> Hold:
    """Set an amount of the caller's wallet aside until a time, for another user who has a wallet in this currency, or for the shop.

    The same id again, or the same Idempotency-Key, returns that hold as it stands. Raises Unauthenticated, InvalidField,
    WalletNotFound, InsufficientFunds, and IdempotencyKeyReused for an id that is another hold's.
    """
    user_id = caller().principal.require_user()
    check_amount(request.amount)
    if request.to_user_id == user_id:
        raise InvalidField("to_user_id", "is to be somebody else")
    if request.id is not None and request.id.version != 7:
        raise InvalidField("id", "is to be a UUIDv7")

    async def hold(tx: Transaction) -> Hold:
        return await open_hold(tx, user_id, request)

    return await once(db, request, hold)


async def open_hold(tx: Transaction, user_id: UUID, request: HoldMoney) -> Hold:
    """Move the money from what can be spent to what is held, and write down for whom and until when."""
    hold_id, amount = request.id or new_id(), request.amount
    mine = ledger.wallet(user_id, amount.currency)
    # Locked before it is looked for the hold: a twin that was here first has the money, and what is left says nothing about it.
    balance = (await ledger.lock_balances(tx, (mine,)))[mine]
    if known := await tx.maybe(HoldRow, FIND_HOLD, hold_id):
        return show_again(known, user_id, request)
    check_end(request.expires_at)
    if request.to_user_id and not await tx.value(HAS_WALLET, ledger.wallet(request.to_user_id, amount.currency).id):
        raise WalletNotFound
    if balance < amount.amount:
        raise InsufficientFunds(Money(balance, amount.currency))
    ends = (request.to_user_id, amount.currency, amount.amount, request.expires_at)
    made = await tx.maybe(HoldRow, OPEN_HOLD, hold_id, user_id, *ends)
    if made is None:
        raise IdempotencyKeyReused  # of another user, a moment ago
    await publish(tx, MoneyHeld(hold_id, user_id, request.to_user_id, amount, request.expires_at))
    await ledger.post(tx, (Transfer(hold_id, "hold", "held", mine, ledger.held(user_id, amount.currency), amount.amount),))
    return show_hold(made)


def show_again(known: HoldRow, user_id: UUID, request: HoldMoney) -> Hold:
    """The hold that was made with this id; raises IdempotencyKeyReused if it was made by another request."""
    asked = (user_id, request.to_user_id, request.amount, request.expires_at)
    if asked != (known.user_id, known.to_user_id, known.money(known.amount), known.expires_at):
        raise IdempotencyKeyReused
    return show_hold(known)


def check_end(expires_at: datetime) -> None:
    """Raise InvalidField unless it lies ahead, and not too far."""
    ahead, longest = expires_at - datetime.now(UTC), settings.now.longest_hold_days
    if not timedelta() < ahead <= timedelta(days=longest):
        raise InvalidField("expires_at", f"is to lie ahead, by {longest} days at the most")


@exposed()
async def post_hold(request: PostHold) -> Hold:
    """Let held money go to whom it is held for, all of it or a part; the rest is back in the wallet.

    For who holds it, if it is for another user, and for admins; an admin may give what is held for the shop to a seller. The same
    resolution_id again returns the hold as it stands. Raises HoldNotFound, Forbidden, HoldResolved (how, says the refusal),
    PostTooLarge, CurrencyMismatch, InvalidField, NotFound for a seller who is not there, and IdempotencyKeyReused.
    """
    principal = caller().principal
    if request.to_seller_id is not None:
        principal.require_admin()
        await users.get_seller(request.to_seller_id)
    return await resolve(request, principal)


@exposed()
async def void_hold(request: VoidHold) -> Hold:
    """Give held money back to its wallet; for whom it is held for, and admins.

    The same resolution_id again returns the hold as it stands. Raises HoldNotFound, Forbidden, HoldResolved (how, says the refusal),
    and IdempotencyKeyReused.
    """
    return await resolve(request, caller().principal)


async def resolve(request: PostHold | VoidHold, principal: Principal) -> Hold:
    """Resolve a hold as it was asked for, or as expired if its time is over."""
    async with db.transaction() as tx:
        hold = await tx.maybe(HoldRow, LOCK_HOLDS, [request.hold_id])
        if hold is None or not may_see(hold, principal):
            raise HoldNotFound
        if resolution := decide(hold, request, principal):
            (hold,) = await settle(tx, (resolution,))
    if hold.status == "expired":
        raise HoldResolved("expired", hold.money(0))
    return show_hold(hold)


def may_see(hold: HoldRow, principal: Principal) -> bool:
    return principal.is_admin or principal.owns(hold.user_id) or principal.owns(hold.to_user_id)


def may_resolve(hold: HoldRow, request: PostHold | VoidHold, principal: Principal) -> bool:
    """Whether it is theirs to give up what this takes from them."""
    if principal.is_admin:
        return True
    if isinstance(request, VoidHold):
        return principal.owns(hold.to_user_id)
    return principal.owns(hold.user_id) and hold.to_user_id is not None


def decide(hold: HoldRow, request: PostHold | VoidHold, principal: Principal) -> Resolution | None:
    """How a hold ends whose row is locked: not at all if this very resolution is done; raises why it may not."""
    if not may_resolve(hold, request, principal):
        raise Forbidden
    wanted = read_wish(hold, request, principal)
    if hold.resolution_id == request.resolution_id:
        if (hold.status, hold.posted, hold.to_seller_id) != (wanted.status, wanted.posted, wanted.to_seller_id):
            raise IdempotencyKeyReused
        return None
    if hold.is_over:
        return Resolution(hold, "expired")
    if hold.status != "open":
        raise HoldResolved(hold.status, hold.money(hold.posted))
    if wanted.posted > hold.amount:
        raise PostTooLarge(hold.money(hold.amount))
    return wanted


def read_wish(hold: HoldRow, request: PostHold | VoidHold, principal: Principal) -> Resolution:
    """How a hold is to end; raises CurrencyMismatch, InvalidField for what makes no sense for this hold."""
    if isinstance(request, VoidHold):
        return Resolution(hold, "voided", 0, None, request.resolution_id, principal.user_id)
    amount = request.amount or hold.money(hold.amount)
    if amount.currency != hold.currency:
        raise CurrencyMismatch(hold.currency)
    if amount.amount <= 0:
        raise InvalidField("amount", "is to be above zero")
    if request.to_seller_id is not None and hold.to_user_id is not None:
        raise InvalidField("to_seller_id", "is for what is held for the shop")
    return Resolution(hold, "posted", amount.amount, request.to_seller_id, request.resolution_id, principal.user_id)


async def settle(tx: Transaction, resolutions: Sequence[Resolution]) -> tuple[HoldRow, ...]:
    """Write how these holds end, whose rows are locked and open, and move their money; they in the order of the resolutions."""
    ends = columns(resolutions, "status", "posted", "to_seller_id", "resolution_id", "resolved_by")
    moments = [one.hold.seen_at for one in resolutions]
    rows = {row.id: row for row in await tx.all(HoldRow, RESOLVE_HOLDS, [one.hold.id for one in resolutions], *ends, moments)}
    await publish(tx, *(event for one in resolutions for event in news_of(one)))
    await ledger.post(tx, [transfer for one in resolutions for transfer in transfers_of(one)])
    return tuple(rows[one.hold.id] for one in resolutions)


def transfers_of(resolution: Resolution) -> list[Transfer]:
    """What is posted goes on, the rest goes back."""
    hold, posted = resolution.hold, resolution.posted
    held, rest = ledger.held(hold.user_id, hold.currency), hold.amount - posted
    on = [Transfer(hold.id, "hold:post", "hold_posted", held, target_of(resolution), posted)] if posted else []
    back = [Transfer(hold.id, "hold:return", "hold_returned", held, ledger.wallet(hold.user_id, hold.currency), rest)] if rest else []
    return on + back


def target_of(resolution: Resolution) -> Account:
    """To whom the money goes that is posted."""
    hold = resolution.hold
    if hold.to_user_id is not None:
        return ledger.wallet(hold.to_user_id, hold.currency)
    if resolution.to_seller_id is not None:
        return ledger.seller_balance(resolution.to_seller_id, hold.currency)
    return ledger.platform_revenue(hold.currency)


def news_of(resolution: Resolution) -> list[Event]:
    """What is told of a hold that ends."""
    hold, amount = resolution.hold, resolution.hold.money(resolution.posted)
    if resolution.status != "posted":
        return [HoldReleased(hold.id, hold.user_id, hold.to_user_id, hold.money(hold.amount), resolution.status == "expired")]
    credited: list[Event] = [WalletCredited(hold.to_user_id, amount)] if hold.to_user_id else []
    return [HoldPosted(hold.id, hold.user_id, hold.to_user_id, resolution.to_seller_id, amount), *credited]


async def expire_holds(limit: int = EXPIRED_AT_ONCE) -> int:
    """Give back what nobody resolved in time; how many holds."""
    async with db.transaction() as tx:
        due = await tx.all(_Key, FIND_DUE, limit)
        # Not those that somebody has resolved since we looked.
        locked = await tx.all(HoldRow, LOCK_HOLDS, [row.id for row in due]) if due else ()
        over = [Resolution(hold, "expired") for hold in locked if hold.is_over]
        if over:
            await settle(tx, over)
    return len(over)


@exposed()
async def get_hold(hold_id: UUID) -> Hold:
    """A hold, for who holds it, for whom it is held, and admins; raises HoldNotFound."""
    row = await db.maybe(HoldRow, FIND_HOLD, hold_id)
    if row is None or not may_see(row, caller().principal):
        raise HoldNotFound
    return show_hold(row)


@exposed()
async def list_holds(limit: int, before: UUID | None = None, status: HoldStatus | None = None, for_shop: bool = False) -> tuple[Hold, ...]:
    """What the caller holds and what is held for them, newest first; with `for_shop` what is held for the shop, for admins.

    Raises Unauthenticated, Forbidden.
    """
    principal = caller().principal
    if not for_shop:
        return await find_holds(principal.require_user(), limit, before, status)
    principal.require_admin()
    return tuple(show_hold(row) for row in await db.search(HoldRow, LIST_FOR_SHOP, status, before, limit))


async def find_holds(user_id: UUID, limit: int, before: UUID | None = None, status: HoldStatus | None = None) -> tuple[Hold, ...]:
    """A user's holds and those for them, newest first."""
    return tuple(show_hold(row) for row in await db.search(HoldRow, LIST_HOLDS, status, before, limit, user_id))


def show_hold(row: HoldRow) -> Hold:
    """A hold as others see it: one whose time is over is expired, whether its money is back already or will be in a moment."""
    return Hold(
        id=row.id,
        user_id=row.user_id,
        to_user_id=row.to_user_id,
        to_seller_id=row.to_seller_id,
        amount=row.money(row.amount),
        posted=row.money(row.posted),
        status="expired" if row.is_over else row.status,
        expires_at=row.expires_at,
        resolved_at=row.resolved_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
