"""Letters that came back or were called spam: believed if the report names a letter of ours as only its recipient's side can."""

from collections.abc import Iterator, Mapping
from email import message_from_bytes
from email.message import Message as Mail
from typing import Literal
from uuid import UUID

import msgspec

from souk import orders, users
from souk.kit.callers import SYSTEM, Caller, asking, caller
from souk.kit.calls import exposed
from souk.kit.errors import Unauthenticated
from souk.kit.signatures import find_signed_id
from souk.notifications.channels.smtp import GONE
from souk.notifications.database import db
from souk.notifications.sealing import Envelope, find_envelope, is_sealed
from souk.notifications.settings import settings
from souk.notifications.suppressions import Bad, SuppressionReason, suppress

FIND_RECIPIENT = """
    SELECT user_id, order_id FROM notifications.message
    WHERE letter_id = $1 AND channel = 'email' AND status IN ('sending', 'sent') LIMIT 1
"""


class MailReport(msgspec.Struct, frozen=True):
    """What a mail server or a provider tells of a letter; header names in small letters."""

    headers: dict[str, str]
    body: bytes


class MailReceipt(msgspec.Struct, frozen=True):
    """What became of a report."""

    status: Literal["applied", "ignored"]


class ReportForged(Unauthenticated, code="notifications.report_forged"):
    """Whoever sent this has not signed it, or not within the last five minutes."""


class _Data(msgspec.Struct, frozen=True):
    message_id: str
    recipient: str
    permanent: bool = True


class _Event(msgspec.Struct, frozen=True):
    type: str
    data: _Data


class Told(msgspec.Struct, frozen=True):
    """What a report says: of which letter, to which address if it names one, and what of it."""

    letter_id: UUID
    recipient: str | None
    reason: SuppressionReason
    envelope: Envelope | None = None  # without one it is signed


class Whose(msgspec.Struct, frozen=True):
    """To whom a letter went."""

    user_id: UUID | None
    order_id: UUID | None


@exposed(timeout=10.0)
async def receive_mail_report(report: MailReport) -> MailReceipt:
    """Leave an address alone that does not exist, or whose owner calls our letters spam. Again changes nothing.

    A report of a mail server (RFC 3464, RFC 5965) counts if it bears the sender of one of our envelopes, a provider's if it is signed,
    and either if the letter went to the address that it names. Raises ReportForged for a provider's that is not signed.
    """
    told = read_signed(report) if is_json(report) else read_mail(report.body)
    if told is None:
        return MailReceipt("ignored")
    address = await find_address(told.letter_id)
    if address is None or not is_of(told, address):
        return MailReceipt("ignored")
    async with db.transaction() as tx:
        await suppress(tx, (Bad(address, told.reason, told.letter_id),))
    return MailReceipt("applied")


def is_of(told: Told, address: str) -> bool:
    """Whether a report is of what went to this address. Who has changed theirs since blames neither the old one nor the new one."""
    if told.envelope is not None and not is_sealed(told.envelope, address):
        return False
    return told.recipient is None or told.recipient.lower() == address.lower()


def is_json(report: MailReport) -> bool:
    return report.headers.get("content-type", "").startswith("application/json")


def read_signed(report: MailReport) -> Told | None:
    """A provider's report, as a Standard Webhook; None if it tells of nothing that matters. Raises ReportForged."""
    secrets = (*settings.now.webhook_secrets, *settings.now.sandbox_webhook_secrets)
    if find_signed_id(report.headers, report.body, secrets) is None:
        raise ReportForged
    try:
        event = msgspec.json.decode(report.body, type=_Event)
        letter_id = UUID(event.data.message_id.strip("<>").partition("@")[0])
    except (msgspec.DecodeError, ValueError):
        return None
    if event.type == "mail.complained":
        return Told(letter_id, event.data.recipient, "complained")
    return Told(letter_id, event.data.recipient, "bounced") if event.type == "mail.bounced" and event.data.permanent else None


def read_mail(body: bytes) -> Told | None:
    """A mail server's report; None if it is none, names no letter, or tells of nothing for good."""
    envelope = find_envelope(body.decode("latin-1"))
    if envelope is None:
        return None
    mail = message_from_bytes(body)
    for part in mail.walk():
        if part.get_content_type() == "message/delivery-status":
            for fields in groups_of(part):
                if fields.get("action", "").lower() == "failed" and status_in(fields) in GONE:
                    return Told(envelope.letter_id, address_in(fields.get("final-recipient")), "bounced", envelope)
        if part.get_content_type() == "message/feedback-report":
            for fields in groups_of(part):
                if fields.get("feedback-type", "").lower() in ("abuse", "fraud"):
                    return Told(envelope.letter_id, address_in(fields.get("original-rcpt-to")), "complained", envelope)
    return None


def groups_of(part: Mail) -> Iterator[Mapping[str, str]]:
    """The fields of a machine's part of a report, group by group."""
    payload = part.get_payload()
    for group in payload if isinstance(payload, list) else ():
        if isinstance(group, Mail):
            inner = group.get_payload()
            yield {name.lower(): str(value).strip() for name, value in group.items()}
            if isinstance(inner, str) and ":" in inner:
                yield {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in inner.splitlines())}


def status_in(fields: Mapping[str, str]) -> str:
    """The code of `5.1.1 (no such user)`."""
    return next(iter(fields.get("status", "").split()), "")


def address_in(field: str | None) -> str | None:
    """The address of `rfc822; ada@example.com` or `<ada@example.com>`."""
    return field.rpartition(";")[2].strip().strip("<>") if field else None


async def find_address(letter_id: UUID) -> str | None:
    """Where a letter of ours went, as far as its recipient still has that address."""
    whose = await db.maybe(Whose, FIND_RECIPIENT, letter_id)
    if whose is None:
        return None
    with asking(Caller(SYSTEM, caller().request_id)):
        if whose.user_id is not None:
            contacts = await users.get_contacts((whose.user_id,))
            return contacts[0].email if contacts else None
        found = await orders.get_orders((whose.order_id,)) if whose.order_id is not None else ()
        return found[0].email if found else None
