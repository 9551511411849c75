"""Sellers pay for the labels of their parcels: carriers send their bills to the shop, whose account they are bought on."""

from collections.abc import Sequence

from souk.kit.db import Transaction
from souk.payments import ledger
from souk.payments.ledger import Transfer
from souk.payments.shares import undo
from souk.shipping.events import LabelBought, LabelVoided


async def book_labels(tx: Transaction, news: Sequence[LabelBought | LabelVoided]) -> None:
    """Take from sellers what their labels cost, and give it back for those that carriers took back; of each parcel once."""
    await ledger.post(tx, [transfer for one in news for transfer in transfers_of(one)])


def transfers_of(one: LabelBought | LabelVoided) -> list[Transfer]:
    """In the label's own currency: a balance that falls below zero by that is made up for by what is earned in it later."""
    way = ledger.seller_balance(one.seller_id, one.price.currency), ledger.carriers_due(one.price.currency)
    bought = [Transfer(one.order_id, f"label:{one.shipment_id}", "label", *way, one.price.amount)]
    return undo(bought) if isinstance(one, LabelVoided) else bought
