"""Labels bought of carriers: asked for in a row first, then at the carrier, once for each parcel whatever is repeated or dies."""

import asyncio
import logging
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.calls import exposed
from souk.kit.db import Transaction, refuse_open_transaction
from souk.kit.errors import InvalidField, NotFound, Unavailable
from souk.kit.events import publish
from souk.kit.lines import Silent, Unreachable
from souk.kit.money import Money
from souk.shipping.carriers import find_carrier, usual_carrier
from souk.shipping.carriers.carrier import LabelAsked, Refused, Sold
from souk.shipping.carriers.manual import MANUAL
from souk.shipping.database import db
from souk.shipping.events import LabelBought, LabelVoided
from souk.shipping.forgetting import FORGET_ADDRESSES, forget_details
from souk.shipping.senders import find_sender
from souk.shipping.settings import settings
from souk.shipping.shipments import FIND, LOCK, Id, StoredShipment, find_own, lock_own
from souk.shipping.types import (
    Address,
    BuyLabel,
    CarrierUnknown,
    Label,
    LabelOffer,
    LabelStatus,
    SenderUnknown,
    WrongLabelStatus,
    WrongShipmentStatus,
)

log = logging.getLogger(__name__)

SELECT_LABELS = """
    SELECT shipment_id, carrier, service, currency, weight_g, sender, status, attempt, carrier_reference, tracking_number, price,
           failure_code, created_at, updated_at
    FROM shipping.label
"""
FIND_LABEL = f"{SELECT_LABELS} WHERE shipment_id = $1"
# One that was refused may be asked for again: nothing was bought.
ASK = """
    INSERT INTO shipping.label AS l (shipment_id, carrier, service, currency, weight_g, sender, status, check_at)
    VALUES ($1, $2, $3, $4, $5, $6, 'asked', now() + make_interval(secs => $7))
    ON CONFLICT (shipment_id) DO UPDATE SET carrier = excluded.carrier, service = excluded.service, currency = excluded.currency,
        weight_g = excluded.weight_g, sender = excluded.sender, status = 'asked', attempt = l.attempt + 1, carrier_reference = NULL,
        failure_code = NULL, asks = 0, check_at = excluded.check_at, updated_at = now()
    WHERE l.status = 'failed'
"""
# Who comes second learns the reference of who came first: no more than one is ever paid for.
KEEP_REFERENCE = """
    UPDATE shipping.label SET carrier_reference = coalesce(carrier_reference, $3), updated_at = now()
    WHERE shipment_id = $1 AND attempt = $2 AND status = 'asked'
    RETURNING carrier_reference
"""
# A label that is paid for beats a refusal that somebody else was given meanwhile.
WRITE_SOLD = """
    UPDATE shipping.label SET status = CASE WHEN $8 THEN 'voiding' ELSE 'bought' END, tracking_number = $3, service = coalesce($4, service),
        price = $5, currency = coalesce($6, currency), document = $7, check_at = CASE WHEN $8 THEN now() END,
        voiding_since = CASE WHEN $8 THEN now() END, sender = NULL, asks = 0, failure_code = NULL, updated_at = now()
    WHERE shipment_id = $1 AND attempt = $2 AND status IN ('asked', 'failed')
"""
WRITE_REFUSED = """
    UPDATE shipping.label SET status = 'failed', failure_code = $3, check_at = NULL, sender = NULL, updated_at = now()
    WHERE shipment_id = $1 AND attempt = $2 AND status = 'asked'
"""
# Our own label takes no number from a parcel that its seller has given one.
WRITE_ON_PARCEL = """
    UPDATE shipping.shipment SET version = version + 1, updated_at = now(),
        carrier = CASE WHEN $2 = 'manual' THEN coalesce(carrier, $2) ELSE $2 END,
        tracking_number = CASE WHEN $2 = 'manual' THEN coalesce(tracking_number, $3) ELSE $3 END
    WHERE id = $1
"""
BEGIN_VOID = """
    UPDATE shipping.label SET status = 'voiding', failure_code = NULL, asks = 0, check_at = now() + make_interval(secs => $2),
        voiding_since = now(), updated_at = now()
    WHERE shipment_id = $1 AND status = 'bought'
"""
WRITE_VOIDED = """
    UPDATE shipping.label SET status = 'voided', failure_code = NULL, check_at = NULL, updated_at = now()
    WHERE shipment_id = $1 AND status IN ('voiding', 'bought')
"""
# Carriers take up to thirty days to say whether they give the price back; so long they are asked every day.
ASK_AGAIN_TOMORROW = """
    UPDATE shipping.label SET failure_code = $2, asks = 0, check_at = now() + interval '1 day', updated_at = now()
    WHERE shipment_id = $1 AND status = 'voiding' AND voiding_since > now() - interval '30 days'
"""
WRITE_NOT_VOIDED = """
    UPDATE shipping.label SET status = 'bought', failure_code = $2, check_at = NULL, updated_at = now()
    WHERE shipment_id = $1 AND status = 'voiding'
"""
TAKE_OFF_PARCEL = """
    UPDATE shipping.shipment SET carrier = NULL, tracking_number = NULL, version = version + 1, updated_at = now()
    WHERE id = $1 AND tracking_number = $2
"""
LOCK_DUE = """
    SELECT shipment_id AS id FROM shipping.label WHERE check_at <= now() ORDER BY check_at LIMIT $1 FOR UPDATE SKIP LOCKED
"""
# The pause doubles up to ten minutes: whoever dies in between is followed by another.
LEASE = """
    UPDATE shipping.label SET asks = asks + 1, check_at = now() + make_interval(secs => least($2 * 2 ^ least(asks, 10), greatest($2, 600)))
    WHERE shipment_id = ANY($1)
"""
USUAL_CURRENCY = "USD"
# What cannot be read is no answer, either.
NO_ANSWER = (Silent, Unreachable, msgspec.DecodeError)
# As the table has it.
LARGEST_DOCUMENT_BYTES = 1024 * 1024


class StoredLabel(msgspec.Struct, frozen=True):
    """A row of label, without its document. It knows its sender as long as it is asked for."""

    shipment_id: UUID
    carrier: str
    service: str | None
    currency: str
    weight_g: int
    sender: Address | None
    status: LabelStatus
    attempt: int
    carrier_reference: str | None
    tracking_number: str | None
    price: int | None
    failure_code: str | None
    created_at: datetime
    updated_at: datetime


@exposed(timeout=20.0)
async def quote_labels(shipment_id: UUID, wanted: BuyLabel) -> tuple[LabelOffer, ...]:
    """What a carrier would take for a parcel of one's own that has not left, the cheapest first. Changes nothing.

    Raises what buy_label does, and Unavailable if the carrier does not say.
    """
    carrier = find_carrier(wanted.carrier or usual_carrier())
    shipment = await find_own(shipment_id)
    sender = await find_sender(shipment.seller_id)
    asked = describe(shipment, wanted, sender.address if sender else None)
    try:
        offers = await carrier.quote(asked)
    except NO_ANSWER as silence:
        raise Unavailable(f"{carrier.name} does not answer") from silence
    return tuple(sorted(offers, key=lambda one: (one.price.amount, one.service)))


@exposed(timeout=20.0)
async def buy_label(shipment_id: UUID, wanted: BuyLabel) -> Label:
    """Buy a label for a parcel of one's own that has not left. Its number is on the parcel then.

    Buying again gives the same label, whatever is wanted now; only after a refusal (`failed`) the carrier is asked again. A carrier that
    keeps silent leaves it `asked`, and it is asked on until it has said what it did. Raises NotFound, WrongShipmentStatus, CarrierUnknown,
    SenderUnknown if nobody has said where the seller's parcels come from, InvalidField without a weight.
    """
    carrier = find_carrier(wanted.carrier or usual_carrier())
    shipment = await find_own(shipment_id)
    sender = await find_sender(shipment.seller_id)
    async with db.transaction() as tx:
        opened = await ask_label(tx, wanted, carrier.name, sender.address if sender else None, shipment_id)
    return await settle(shipment_id) if opened else show(await find_label(shipment_id))


@exposed(timeout=20.0)
async def void_label(shipment_id: UUID) -> Label:
    """Take the label of a parcel of one's own back that has not left. Again changes nothing; a parcel gets no second one.

    If the carrier refuses, it stays bought, with the reason in `failure_code`; if it says that it will take days, it is `voiding` until
    then. Raises NotFound, WrongShipmentStatus, WrongLabelStatus.
    """
    begun = 0
    async with db.transaction() as tx:
        shipment = await lock_own(tx, shipment_id)
        found = await tx.maybe(StoredLabel, FIND_LABEL, shipment_id)
        if found is None:
            raise NotFound
        if found.status in ("asked", "failed"):
            raise WrongLabelStatus(found.status)
        if found.status == "bought":
            if shipment.dispatched_at is not None:
                raise WrongShipmentStatus(shipment.status)
            begun = await tx.run(BEGIN_VOID, shipment_id, settings.now.first_check_s)
    return await settle(shipment_id) if begun else show(await find_label(shipment_id))


@exposed()
async def get_label(shipment_id: UUID) -> Label:
    """How it stands with the label of a parcel of one's own. Changes nothing; raises NotFound, also if none was asked for."""
    await find_own(shipment_id)
    return show(await find_label(shipment_id))


async def settle_labels(limit: int = 100) -> int:
    """Go on with labels whose carrier kept silent or whose buyer died; how many were looked at."""
    async with db.transaction() as tx:
        due = [row.id for row in await tx.all(Id, LOCK_DUE, limit)]
        await tx.run(LEASE, due, settings.now.first_check_s)
    await asyncio.gather(*(settle(shipment_id) for shipment_id in due))
    return len(due)


async def find_label(shipment_id: UUID) -> StoredLabel:
    """The label of a parcel; raises NotFound if none was asked for."""
    found = await db.maybe(StoredLabel, FIND_LABEL, shipment_id)
    if found is None:
        raise NotFound
    return found


async def ask_label(tx: Transaction, wanted: BuyLabel, carrier: str, sender: Address | None, shipment_id: UUID) -> bool:
    """Write down that a label is asked for, unless one is there; whether the caller is to ask for it. Raises what buy_label does."""
    shipment = await lock_own(tx, shipment_id)
    found = await tx.maybe(StoredLabel, FIND_LABEL, shipment_id)
    if found is not None and found.status != "failed":
        return False
    asked = describe(shipment, wanted, sender)
    terms = (carrier, asked.service, asked.currency, asked.weight_g, msgspec.to_builtins(asked.sender))
    return bool(await tx.run(ASK, shipment_id, *terms, settings.now.first_check_s))


def describe(shipment: StoredShipment, wanted: BuyLabel, sender: Address | None) -> LabelAsked:
    """What a carrier is to be asked; raises WrongShipmentStatus, SenderUnknown, InvalidField."""
    weight_g = wanted.weight_g or shipment.weight_g
    if shipment.status != "packed" or shipment.address is None:
        raise WrongShipmentStatus(shipment.status)
    if sender is None:
        raise SenderUnknown
    if weight_g is None:
        raise InvalidField("weight_g", "is missing: say what the parcel weighs")
    currency = wanted.currency or USUAL_CURRENCY
    return LabelAsked(shipment.id, 1, shipment.order_number, weight_g, currency, sender, shipment.address, wanted.service)


async def settle(shipment_id: UUID) -> Label:
    """Ask the carrier for what is open of a label, and write down what it says; how it stands then.

    Only for who has moved `check_at`, and it ends before that: nobody else asks meanwhile.
    """
    refuse_open_transaction("a carrier")
    label = await find_label(shipment_id)
    try:
        async with asyncio.timeout(settings.now.first_check_s - 1.0):
            if label.status == "asked":
                await settle_purchase(label)
            elif label.status == "voiding":
                await settle_void(label)
    except (*NO_ANSWER, CarrierUnknown, TimeoutError) as silence:
        log.warning("carrier_silent", extra={"carrier": label.carrier, "reason": str(silence)})
    return show(await find_label(shipment_id))


async def settle_purchase(label: StoredLabel) -> None:
    carrier = find_carrier(label.carrier)
    (shipment,) = await db.all(StoredShipment, FIND, [label.shipment_id])
    if shipment.address is None or label.sender is None:
        return
    asked = LabelAsked(
        label.shipment_id,
        label.attempt,
        shipment.order_number,
        label.weight_g,
        label.currency,
        label.sender,
        shipment.address,
        label.service,
    )
    made = label.carrier_reference or await carrier.prepare(asked)
    reference = None if isinstance(made, Refused) else await keep_reference(label, made)
    if isinstance(made, Refused):
        outcome: Sold | Refused = made
    elif reference is None:
        return
    else:
        outcome = await carrier.buy(asked, reference)
    async with db.transaction() as tx:
        settled = await write_outcome(tx, label, outcome)
    if not settled:
        log.error("label_bought_in_vain", extra={"carrier": carrier.name, "shipment_id": str(label.shipment_id), "reference": reference})
        await carrier.void(reference or "")


async def keep_reference(label: StoredLabel, reference: str) -> str | None:
    """The reference that is kept for this attempt; None if it is not asked for any more."""
    async with db.transaction() as tx:
        kept: str | None = await tx.value(KEEP_REFERENCE, label.shipment_id, label.attempt, reference)
    return kept


async def write_outcome(tx: Transaction, label: StoredLabel, outcome: Sold | Refused) -> bool:
    """Write what came of a label that was asked for; False for one that was paid for in vain, because another was asked for meanwhile.

    One for a parcel that was cancelled meanwhile, or has left without it, goes back.
    """
    await tx.all(Id, LOCK, [label.shipment_id])
    shipment = await tx.one(StoredShipment, FIND, [label.shipment_id])
    if isinstance(outcome, Refused):
        await tx.run(WRITE_REFUSED, label.shipment_id, label.attempt, outcome.code)
        await forget_departed(tx, shipment)
        return True
    price = outcome.price or Money(0, label.currency)
    unwanted = shipment.status != "packed"
    facts = (outcome.tracking_number, outcome.service, price.amount, price.currency, fit_document(outcome.document), unwanted)
    if not await tx.run(WRITE_SOLD, label.shipment_id, label.attempt, *facts):
        return (await tx.one(StoredLabel, FIND_LABEL, label.shipment_id)).tracking_number == outcome.tracking_number
    if not unwanted:
        await tx.run(WRITE_ON_PARCEL, label.shipment_id, label.carrier, outcome.tracking_number)
    if price.amount:
        await publish(tx, LabelBought(shipment.id, shipment.order_id, shipment.seller_id, price))
    await forget_departed(tx, shipment)
    return True


async def forget_departed(tx: Transaction, shipment: StoredShipment) -> None:
    """What waited for its label may be forgotten now, if its buyer has left."""
    if shipment.status != "packed":
        await forget_details(tx, [row.id for row in await tx.all(Id, FORGET_ADDRESSES, [shipment.id])])


async def settle_void(label: StoredLabel) -> None:
    refused = await find_carrier(label.carrier).void(label.carrier_reference or "")
    async with db.transaction() as tx:
        await tx.all(Id, LOCK, [label.shipment_id])
        shipment = await tx.one(StoredShipment, FIND, [label.shipment_id])
        if refused is not None:
            # What was not sent at all cannot have been used: a carrier that says so too early may think better of it.
            in_time = not refused.final or shipment.status == "canceled"
            if not (in_time and await tx.run(ASK_AGAIN_TOMORROW, label.shipment_id, refused.code)):
                await tx.run(WRITE_NOT_VOIDED, label.shipment_id, refused.code)
        elif await tx.run(WRITE_VOIDED, label.shipment_id):
            await tx.run(TAKE_OFF_PARCEL, label.shipment_id, label.tracking_number)
            if label.price:
                price = Money(label.price, label.currency)
                await publish(tx, LabelVoided(shipment.id, shipment.order_id, shipment.seller_id, price))


def fit_document(document: bytes | None) -> bytes | None:
    """A carrier's paper, if it is a PDF that we can keep; else our own label is printed."""
    return document if document and document.startswith(b"%PDF-") and len(document) <= LARGEST_DOCUMENT_BYTES else None


def show(label: StoredLabel) -> Label:
    price = None if label.price is None or label.carrier == MANUAL else Money(label.price, label.currency)
    return Label(
        label.shipment_id, label.carrier, label.service, label.status, label.tracking_number, price, label.failure_code,
        label.created_at, label.updated_at,
    )  # fmt: skip
