"""What payments does by the clock."""

from souk.kit.jobs import every
from souk.payments import bank_statements, holds, paying_out, payouts, reconciling


@every(2.0)
async def settle_open_attempts() -> int:
    """Find out what became of attempts whose gateway kept silent or whose buyer never came back."""
    return await reconciling.settle_open_attempts()


@every(2.0)
async def retry_refunds() -> int:
    """Ask again for refunds that hang."""
    return await reconciling.retry_refunds()


@every(15.0)
async def reconcile_books() -> int:
    """Match the gateways' books with ours."""
    return await reconciling.reconcile_books()


@every(1.0)
async def expire_holds() -> int:
    """Give back money of wallets that was held until a time that is over."""
    return await holds.expire_holds()


@every(60.0)
async def make_due_payouts() -> int:
    """Set aside what sellers are to be paid by now."""
    return await payouts.make_due_payouts()


@every(2.0)
async def send_due_payouts() -> int:
    """Have the bank pay what was set aside, and ask what became of what it left open."""
    return await paying_out.send_due_payouts()


@every(15.0)
async def reconcile_statement() -> int:
    """Match the bank's statement with our payouts."""
    return await bank_statements.reconcile_if_it_answers()
