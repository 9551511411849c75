"""What of a seller's balance may leave it, to their bank or to their owner's wallet: never what another is just taking out of it."""

import time
from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.kit.db import Transaction
from souk.kit.ids import first_id
from souk.payments import ledger
from souk.payments.ledger import Account
from souk.payments.payout_booking import KINDS
from souk.payments.settings import settings

# What came in since $2, of which the shop says that it is too young. What came back from the bank never is.
SUM_YOUNG = """
    SELECT u.id, young.amount
    FROM unnest($1::uuid[]) AS u (id)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(t.amount), 0)::bigint AS amount FROM payments.transfer AS t
        WHERE t.credit_id = u.id AND t.id >= $2 AND t.kind <> ALL($3)
    ) AS young
"""

# Above every id: nothing is too young.
LAST_ID = UUID(int=2**128 - 1)
CAME_BACK = [KINDS["release"], KINDS["return"]]


class _Young(msgspec.Struct, frozen=True):
    id: UUID
    amount: int


async def lock_payable(tx: Transaction, sellers: Sequence[Account], others: Sequence[Account]) -> dict[Account, int]:
    """How much may leave each of these balances of sellers, below zero if they owe something.

    Locked until the end of the transaction, along with the other accounts that it is to move: in one statement, for the ledger's order.
    """
    balances = await ledger.lock_balances(tx, [*sellers, *others])
    delay_s = settings.now.payout_delay_s
    young_from = first_id(time.time() - delay_s) if delay_s else LAST_ID
    young = {row.id: row.amount for row in await tx.all(_Young, SUM_YOUNG, [one.id for one in sellers], young_from, CAME_BACK)}
    return {one: balances[one] - young[one.id] for one in sellers}
