"""Letters as the audit compares them with the book of who takes them, where there is one that can be read."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import Unavailable
from souk.kit.lines import Silent, Unreachable
from souk.notifications.channels.carriers import booked_channels, find_book
from souk.notifications.database import db

# What has gone by the month may still stand in the book.
READ_LETTERS = """
    SELECT letter_id, bool_or(status = 'sent') AS sent, bool_or(status = 'sending') AS under_way, min(status) AS status
    FROM notifications.message WHERE channel = ANY($1) AND letter_id > $2 GROUP BY letter_id ORDER BY letter_id LIMIT $3
"""
PAGE = 10_000
FIRST = UUID(int=0)


class LetterDifference(msgspec.Struct, frozen=True):
    """A letter of which we say something else than the book: what we say, and how often it stands there."""

    letter_id: UUID
    status: str | None
    taken: int


class _Letter(msgspec.Struct, frozen=True):
    letter_id: UUID
    sent: bool
    under_way: bool
    status: str


@exposed(timeout=120.0)
async def check_letters() -> tuple[LetterDifference, ...]:
    """The letters that we have sent and that were not taken, or not once, and those that were taken and that we have not sent; for admins.

    Nothing if there is no book. Changes nothing. Raises Unavailable if the book cannot be read.
    """
    caller().principal.require_admin()
    book = find_book()
    if book is None:
        return ()
    try:
        taken = await book.count_letters()
    except (Silent, Unreachable) as silence:
        raise Unavailable(f"the book of letters: {silence}") from silence
    found: list[LetterDifference] = []
    after = FIRST
    while page := await db.all(_Letter, READ_LETTERS, list(booked_channels()), after, PAGE):
        for one in page:
            count = taken.pop(str(one.letter_id), 0)
            if count != int(one.sent) and not one.under_way:
                found.append(LetterDifference(one.letter_id, "sent" if one.sent else one.status, count))
        after = page[-1].letter_id
    found += [LetterDifference(UUID(letter_id), None, count) for letter_id, count in taken.items() if is_id(letter_id)]
    return tuple(found)


def is_id(text: str) -> bool:
    """Whether it can be a letter of ours; others may use the same post."""
    try:
        return bool(UUID(text))
    except ValueError:
        return False
