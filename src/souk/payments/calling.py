"""Calls to gateways, outside of any transaction: what they answer becomes news, and a call goes on when nobody waits for it any more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable

from souk.kit.db import NOT_NOW, refuse_open_transaction
from souk.kit.errors import Unavailable
from souk.kit.money import Money
from souk.payments.gateways import find_gateway
from souk.payments.gateways.gateway import (
    AttemptNews,
    AttemptSought,
    ChargeAsked,
    News,
    Reference,
    RefundAsked,
    RefundNews,
    Silent,
    Unreachable,
)
from souk.payments.records import Attempt, NewRefund
from souk.payments.types import GatewayUnknown

log = logging.getLogger(__name__)

# No money moved because the gateway was not reached, and because it says that it never heard of the attempt.
UNREACHED, UNHEARD = "gateway_unavailable", "not_charged"

# Left of a caller's patience for the way back.
RESERVE_S = 0.25

_under_way: dict[Hashable, asyncio.Task[None]] = {}


def start(key: Hashable, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Run this beside whatever else runs; if the same is under way already, that is the answer."""
    if key not in _under_way:
        task = asyncio.create_task(_run(work))
        _under_way[key] = task
        task.add_done_callback(lambda _: _under_way.pop(key, None))
    return _under_way[key]


def find(key: Hashable) -> asyncio.Task[None] | None:
    """What is under way for this, if anything."""
    return _under_way.get(key)


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except (Unavailable, *NOT_NOW) as silence:
        # The row says that it is open: the job that looks after such rows comes back to it.
        log.warning("gateway_call_unsettled", extra={"reason": str(silence)})
    except Exception:
        log.exception("gateway_call_failed")


async def wait(task: asyncio.Task[None], at_most_s: float) -> None:
    """Wait a while for something that goes on in any case."""
    await asyncio.wait((task,), timeout=max(at_most_s, 0.0))


async def ask_charge(attempt: Attempt, asked: ChargeAsked, again: bool) -> AttemptNews | None:
    """Charge; None if nobody can say what came of it. An attempt that was asked before is looked up first."""
    refuse_open_transaction("a gateway")
    gateway = find_gateway(attempt.gateway)
    try:
        known = await gateway.find(AttemptSought(asked.reference, attempt.gateway_id)) if again else None
        return known or await gateway.charge(asked)
    except Unreachable as unreachable:
        log.warning("gateway_unreachable", extra={"gateway": attempt.gateway, "reason": str(unreachable)})
        return AttemptNews(asked.reference, "declined", code=UNREACHED)
    except Silent as silence:
        log.warning("gateway_silent", extra={"gateway": attempt.gateway, "reason": str(silence)})
        return None


async def ask_whether(attempt: Attempt) -> AttemptNews:
    """How an open attempt stands at its gateway; as before if that cannot be asked."""
    refuse_open_transaction("a gateway")
    sought = sought_of(attempt)
    try:
        return await find_gateway(attempt.gateway).find(sought) or AttemptNews(sought.reference, "declined", code=UNHEARD)
    except (Silent, Unreachable, GatewayUnknown) as silence:
        log.warning("gateway_silent", extra={"gateway": attempt.gateway, "reason": str(silence)})
        return AttemptNews(sought.reference, "pending")


async def ask_void(attempt: Attempt) -> AttemptNews:
    """Withdraw the question to the buyer; as before if that cannot be asked."""
    refuse_open_transaction("a gateway")
    sought = sought_of(attempt)
    try:
        return await find_gateway(attempt.gateway).void(sought)
    except (Silent, Unreachable, GatewayUnknown) as silence:
        log.warning("gateway_silent", extra={"gateway": attempt.gateway, "reason": str(silence)})
        return AttemptNews(sought.reference, "pending")


async def ask_refund(refund: NewRefund, attempt: Attempt) -> RefundNews:
    """Give money back; still pending if nobody can say whether it was done. Asking again gives it back once."""
    refuse_open_transaction("a gateway")
    asked = RefundAsked(refund.payment_id, refund.id, attempt.gateway_id or "", Money(refund.amount, refund.currency))
    try:
        return await find_gateway(attempt.gateway).refund(asked)
    except (Silent, Unreachable, GatewayUnknown) as silence:
        log.warning("gateway_silent", extra={"gateway": attempt.gateway, "reason": str(silence)})
        return RefundNews(refund.payment_id, refund.id, "pending")


def sought_of(attempt: Attempt) -> AttemptSought:
    return AttemptSought(Reference(attempt.payment_id, attempt.id), attempt.gateway_id)


def answer_of(attempt: Attempt, *news: AttemptNews) -> News:
    """A gateway's answer about an attempt, as news."""
    return News("answer", attempt.gateway, str(attempt.id), attempts=news)
