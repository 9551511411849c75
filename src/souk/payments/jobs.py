"""What payments does by the clock."""

from souk.kit.jobs import every
from souk.payments import reconciling


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
