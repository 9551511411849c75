"""Compare what products show of their rating with what reviews counts, page by page."""

import asyncio
from uuid import UUID

from souk import catalog, reviews
from souk.audit import comparing
from souk.audit.reporting import verdict_on
from souk.kit.rules import Finding, Rule, Verdict

SHOWN = Rule("I17.shown", "A product shows the rating that its reviews have")

PAGE = 500


async def compare_ratings() -> Verdict:
    """What becomes of the rule. What differs is read again some seconds later, for the news of a rating is a moment on its way."""
    suspects = await find_differences()
    if suspects:
        await asyncio.sleep(comparing.AGAIN_AFTER_S)
        again = await find_differences()
        suspects = {key: found for key, found in suspects.items() if again.get(key) == found}
    return verdict_on(SHOWN, tuple(suspects.values()))


async def find_differences() -> dict[UUID, Finding]:
    """The products that show another rating than they have. One that is gone for good shows nothing, and soon has none."""
    found: dict[UUID, Finding] = {}
    after = comparing.FIRST
    while page := await reviews.read_rating_books(after, PAGE):
        shown = {one.product_id: one for one in await catalog.read_shown_ratings(tuple(book.product_id for book in page))}
        for book in page:
            one = shown.get(book.product_id)
            if one is not None and (one.count, one.average_hundredths) != (book.count, average_of(book)):
                counted = {"count": book.count, "average_hundredths": average_of(book)}
                seen = {"count": one.count, "average_hundredths": one.average_hundredths}
                found[book.product_id] = Finding(str(book.product_id), {"shown": seen, "reviews": counted})
        after = page[-1].product_id
    return found


def average_of(book: reviews.RatingBook) -> int | None:
    """The average in hundredths of a star, rounded as PostgreSQL does: half of one away from zero."""
    return (200 * book.total + book.count) // (2 * book.count) if book.count else None
