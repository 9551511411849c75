"""People who hold money, and what they do with it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.conftest import asked_by

from souk import payments
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import moment_of, new_id
from souk.kit.money import Money
from souk.payments import jobs
from souk.payments.database import db
from souk.payments.wallet_types import Hold, HoldMoney, PostHold, VoidHold

END = "UPDATE payments.hold SET expires_at = clock_timestamp() WHERE status = 'open' AND id = $1"


def euros(cents: int) -> Money:
    return Money(cents, "EUR")


async def hold(user_id: UUID, cents: int, to_user_id: UUID | None = None, hold_id: UUID | None = None, minutes: float = 60) -> Hold:
    """A user sets money aside; the same id holds until the same moment."""
    until = moment_of(hold_id) if hold_id else datetime.now(UTC)
    with asked_by("buyer", user_id=user_id):
        return await payments.hold_money(HoldMoney(euros(cents), until + timedelta(minutes=minutes), to_user_id, hold_id))


async def post(user_id: UUID | None, hold_id: UUID, cents: int | None = None, resolution_id: UUID | None = None) -> Hold:
    """A user, or the shop, lets held money go."""
    request = PostHold(hold_id, resolution_id or new_id(), None if cents is None else euros(cents))
    with asked_by("buyer", user_id=user_id) if user_id else asking(Caller(SYSTEM)):
        return await payments.post_hold(request)


async def void(user_id: UUID | None, hold_id: UUID, resolution_id: UUID | None = None) -> Hold:
    """A user, or the shop, gives held money back."""
    with asked_by("buyer", user_id=user_id) if user_id else asking(Caller(SYSTEM)):
        return await payments.void_hold(VoidHold(hold_id, resolution_id or new_id()))


async def let_time_end(hold_id: UUID) -> None:
    """The time of a hold is over, and the job passes."""
    await db.pool.execute(END, hold_id)
    await jobs.expire_holds()


async def wallet_of(user_id: UUID) -> tuple[int, int, int]:
    """All that a user has, what is held of it, and what can be spent."""
    with asked_by("buyer", user_id=user_id):
        (one,) = (await payments.get_wallet()).balances
    return one.balance.amount, one.held.amount, one.available.amount
