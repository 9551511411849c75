"""Messages that are due become letters: to whom, in their language, as they are and what they want now."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from souk import orders, users
from souk.notifications.channels.channel import Letter
from souk.notifications.deciding import decide_again
from souk.notifications.rendering import Recipient, Told, render_letter, render_lines, write_short_part
from souk.notifications.sealing import Wish, hide_address, write_unsubscribe_token
from souk.notifications.settings import settings
from souk.notifications.settling import Settled, try_later
from souk.notifications.standing import find_stopped, settle_stopped
from souk.notifications.suppressions import find_suppressed
from souk.notifications.topics import KINDS
from souk.notifications.types import Message
from souk.notifications.wording import Unrenderable
from souk.users import Contact, MailTokenRequest

# What these say is good for a while only, and for whoever has it: it is made when it is written, and kept nowhere.
TOKENS: dict[str, Literal["verify_email", "reset_password"]] = {"verify_email": "verify_email", "reset_password": "reset_password"}
# Letters that are written before others that are on their way have their turn.
AT_ONCE = 25
# Until somebody is looked for again whose address was changed just now.
MOVED_S = 1.0


# By user.
Contacts = Mapping[UUID, Contact]


class Ready(msgspec.Struct, frozen=True):
    """A letter, and the messages that leave in it."""

    letter: Letter
    messages: tuple[Message, ...]


class Addressee(msgspec.Struct, frozen=True):
    """Where somebody is reached, and who they are to read it."""

    to: str
    reader: Recipient


class Written(msgspec.Struct, frozen=True):
    """What is to be carried, and what becomes of all that is not."""

    ready: tuple[Ready, ...]
    settled: tuple[Settled, ...]


async def write_letters(messages: Sequence[Message], known: Contacts | None = None) -> Written:
    """Look once more whether messages are wanted, and write the letters of those that are. Raises Unavailable.

    Who is `known` was looked up less than a second ago, and all recipients are among them.
    """
    contacts = known or await find_contacts(messages)
    emails = await find_emails_of_guests(messages)
    now = datetime.now(UTC)
    settled: list[Settled] = []
    wanted: dict[UUID, list[Message]] = defaultdict(list)
    addressees: dict[UUID, Addressee] = {}
    again = decide_again(contacts, messages, now)
    stopped = await find_stopped(messages)
    hidden: dict[str, bytes] = {}
    for number, message in enumerate(messages):
        await give_way(number)
        decided = again[message.id]
        addressee = find_addressee(message, contacts, emails)
        if message.give_up_at <= now:
            settled.append(Settled(message, "failed", "given_up: too late"))
        elif message.notice_id in stopped:
            settled.append(settle_stopped(message, stopped[message.notice_id], now))
        elif decided.what == "wait" and decided.until is not None:
            settled.append(try_later(message, decided.reason or "", decided.until, untried=True))
        elif decided.what == "suppress" or addressee is None:
            settled.append(Settled(message, "suppressed", decided.reason or "no_address"))
        else:
            wanted[message.letter_id].append(message)
            addressees[message.id] = addressee
            hidden[addressee.to] = hide_address(addressee.to)
    suppressed = await find_suppressed(list(hidden.values()))
    ready: list[Ready] = []
    tokens = await issue_tokens([message for those in wanted.values() for message in those], addressees)
    for number, (letter_id, those) in enumerate(wanted.items()):
        await give_way(number)
        left: list[Message] = []
        for message in those:
            reason = suppressed.get(hidden[addressees[message.id].to])
            if reason is not None and (reason != "complained" or not message.mandatory):
                settled.append(Settled(message, "suppressed", f"address_{reason}"))
            elif tokens.get(message.id, "") is None:
                settled.append(try_later(message, "another address", now + timedelta(seconds=MOVED_S), untried=True))
            else:
                left.append(message)
        one, blocked = write_one(letter_id, left, addressees, tokens)
        settled += blocked
        if one is not None:
            ready.append(one)
    return Written(tuple(ready), tuple(settled))


async def give_way(number: int) -> None:
    """Let letters that are on their way have their turn, now and then."""
    if number % AT_ONCE == 0:
        await asyncio.sleep(0)


async def find_contacts(messages: Iterable[Message]) -> Contacts:
    user_ids = sorted({one.user_id for one in messages if one.user_id is not None})
    return {one.user_id: one for one in await users.get_contacts(tuple(user_ids))} if user_ids else {}


async def find_emails_of_guests(messages: Iterable[Message]) -> dict[UUID, str]:
    """By order."""
    guests = sorted({one.order_id for one in messages if one.user_id is None and one.order_id is not None})
    found = await orders.get_orders(tuple(guests)) if guests else ()
    return {one.id: one.email for one in found if one.email is not None}


def find_addressee(message: Message, contacts: Contacts, emails: Mapping[UUID, str]) -> Addressee | None:
    """Where a message goes, if there is such a place."""
    if message.user_id is None:
        email = emails.get(message.order_id) if message.order_id is not None and message.channel == "email" else None
        return Addressee(email, Recipient(settings.now.language)) if email else None
    contact = contacts.get(message.user_id)
    if contact is None:
        return None
    to = {"email": contact.email, "sms": contact.phone_number, "push": str(message.user_id)}.get(message.channel)
    return Addressee(to, Recipient(contact.language, contact.timezone, contact.name)) if to else None


async def issue_tokens(messages: Sequence[Message], addressees: Mapping[UUID, Addressee]) -> dict[UUID, str | None]:
    """What proves that a mailbox is somebody's, for the messages that bring it; None for a user who is gone, or has another by now."""
    wanting = {one.id: (one.user_id, TOKENS[one.kind]) for one in messages if one.kind in TOKENS}
    asked = {
        message_id: MailTokenRequest(user_id, purpose, addressees[message_id].to)
        for message_id, (user_id, purpose) in wanting.items()
        if user_id is not None
    }
    issued = await users.issue_mail_tokens(tuple(asked.values())) if asked else ()
    return dict.fromkeys(wanting) | dict(zip(asked, issued, strict=True))


def write_one(
    letter_id: UUID, messages: Sequence[Message], addressees: Mapping[UUID, Addressee], tokens: Mapping[UUID, str | None]
) -> tuple[Ready | None, list[Settled]]:
    """The letter of these messages; of those that cannot be written why not. Nothing leaves half written."""
    blocked: list[Settled] = []
    told: list[Told] = []
    left: list[Message] = []
    for message in messages:
        content = message.content | ({"token": tokens[message.id]} if message.id in tokens else {})
        reader = addressees[message.id].reader
        try:
            if len(messages) > 1:
                write_short_part(Told(message.kind, content), reader)
        except Unrenderable as reason:
            blocked.append(Settled(message, "failed", f"template: {reason}"))
        else:
            told.append(Told(message.kind, content))
            left.append(message)
    if not left:
        return None, blocked
    try:
        letter = compose(letter_id, left[0], told, addressees[left[0].id])
    except Unrenderable as reason:
        return None, [*blocked, *(Settled(message, "failed", f"template: {reason}") for message in left)]
    return Ready(letter, tuple(left)), blocked


def compose(letter_id: UUID, first: Message, told: Sequence[Told], addressee: Addressee) -> Letter:
    """A letter on the channel of its messages, which are all on one topic."""
    if first.channel != "email":
        return Letter(letter_id, addressee.to, "", render_lines(told, addressee.reader))
    url = find_unsubscribe_url(first)
    rendered = render_letter(told, addressee.reader, url)
    return Letter(letter_id, addressee.to, rendered.subject, rendered.text, rendered.page, url, KINDS[first.kind].topic.advertises)


def find_unsubscribe_url(message: Message) -> str | None:
    """Where somebody ends a topic with one click; None for what they have to be told, and for guests."""
    if message.mandatory or message.user_id is None:
        return None
    token = write_unsubscribe_token(Wish(message.user_id, message.topic, message.channel))
    return f"{settings.now.public_url.rstrip('/')}/notifications/unsubscribe/{token}"
