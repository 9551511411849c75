"""Buyers write, change and remove their reviews; who may, and whether a person looks at it before it is shown."""

import re
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.ids import new_id
from souk.reviews import pacing, purchases
from souk.reviews.database import db
from souk.reviews.moderation import reject
from souk.reviews.records import (
    FIND,
    SELECT_REVIEWS,
    StoredReview,
    follow_change,
    lock_review,
    read_review,
    show,
    words_of,
    write_review,
)
from souk.reviews.replies import REMOVE_REPLY
from souk.reviews.settings import settings
from souk.reviews.types import AlreadyReviewed, NewReview, OwnGoods, Review, ReviewChange, ReviewStatus

LOCK_OF_BUYER = f"{SELECT_REVIEWS} WHERE r.product_id = $1 AND r.user_id = $2 FOR UPDATE"
ADD = """
    INSERT INTO reviews.review (id, product_id, seller_id, user_id, verified, rating, title, comment, display_name, status, queued_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $10 = 'pending' THEN now() END)
"""
IS_REPORTED = "SELECT EXISTS (SELECT FROM reviews.report WHERE review_id = $1)"
REMOVE = "DELETE FROM reviews.review WHERE id = $1"


@exposed()
async def create_review(product_id: UUID, new: NewReview) -> Review:
    """Review a product that was delivered to the caller. The same again gives the first one.

    Raises NotPurchased, OwnGoods, TooMany, NotFound for a product that is gone, and AlreadyReviewed for something else about one that
    the caller has reviewed.
    """
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        await pacing.take_turn(tx, user_id)
        known = await tx.maybe(StoredReview, LOCK_OF_BUYER, product_id, user_id)
        if known is None:
            return await add_review(tx, product_id, user_id, new)
        wanted = msgspec.structs.replace(known, **msgspec.structs.asdict(new))
        # What its author took back although others had something to say of it may be written anew, and is looked at.
        if known.status == "withdrawn":
            return await write_review(tx, known, submit(known, wanted))
        if words_of(known) != words_of(wanted):
            raise AlreadyReviewed(known.id)
        return show(known)


@exposed()
async def change_review(product_id: UUID, review_id: UUID, change: ReviewChange) -> Review:
    """Change what is given of one's own review; repeating changes nothing more. What was rejected is looked at again.

    Raises NotFound, also for another's.
    """
    async with db.transaction() as tx:
        found = await lock_review(tx, review_id)
        if found.product_id != product_id or not caller().principal.owns(found.user_id):
            raise NotFound
        given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        wanted = msgspec.structs.replace(found, **given)
        if words_of(found) == words_of(wanted):
            return show(found)
        return await write_review(tx, found, submit(found, wanted))


@exposed()
async def remove_review(product_id: UUID, review_id: UUID, reason: str | None) -> None:
    """Remove one's own review; an admin rejects another's, for a reason.

    Of one's own that was replied to or reported, or that an admin has rejected or is to look at, only the words go, and the reply to
    them: what is written instead is looked at. Raises NotFound, also for another's and for what is gone, InvalidField for an admin without
    a reason.
    """
    who = caller().principal
    async with db.transaction() as tx:
        found = await lock_review(tx, review_id)
        if found.product_id != product_id or not (who.owns(found.user_id) or who.is_admin):
            raise NotFound
        if not who.owns(found.user_id):
            if reason is None:
                raise InvalidField("reason", "is missing: say why another's review is to go")
            await reject(tx, found, reason)
        elif found.is_public and found.queued_at is None and found.reply is None and not await tx.value(IS_REPORTED, review_id):
            await follow_change(tx, found, None)
            await tx.run(REMOVE, review_id)
        else:
            gone = {"title": "", "comment": "", "display_name": None, "status": "withdrawn", "reason": None, "queued_at": None}
            await tx.run(REMOVE_REPLY, review_id)
            await write_review(tx, found, msgspec.structs.replace(found, **gone))


async def add_review(tx: Transaction, product_id: UUID, user_id: UUID, new: NewReview) -> Review:
    """Write the first review of a product by somebody whose turn it is; raises NotPurchased, NotFound, OwnGoods, TooMany."""
    origin = await purchases.find_origin(tx, user_id, product_id)
    if caller().principal.sells_for(origin.seller_id):
        raise OwnGoods
    await pacing.limit_reviews(tx, user_id)
    review_id = new_id()
    status: ReviewStatus = "pending" if wants_a_look(new.title, new.comment, new.display_name) else "published"
    words = (new.rating, new.title, new.comment, new.display_name)
    await tx.run(ADD, review_id, product_id, origin.seller_id, user_id, origin.verified, *words, status)
    await follow_change(tx, None, await tx.one(StoredReview, FIND, review_id))
    return await read_review(tx, review_id)


def submit(found: StoredReview, wanted: StoredReview) -> StoredReview:
    """The review with other words; it waits for an admin if it did, if it was rejected, or if the shop wants to look first."""
    now = datetime.now(UTC)
    shown = found.is_public and not wants_a_look(wanted.title, wanted.comment, wanted.display_name)
    status: ReviewStatus = "published" if shown else "pending"
    queued_at = found.queued_at if shown else found.queued_at or now
    return msgspec.structs.replace(wanted, status=status, reason=None, queued_at=queued_at, edited_at=now)


def wants_a_look(*texts: str | None) -> bool:
    """Whether an admin is to see this before everybody does."""
    if settings.now.moderated:
        return True
    blocked = settings.now.blocked_words
    return bool(blocked) and any(text and compile_words(blocked).search(text) for text in texts)


@cache
def compile_words(words: tuple[str, ...]) -> re.Pattern[str]:
    """What finds one of these words, whole and in any case."""
    return re.compile(r"(?<!\w)(?:" + "|".join(re.escape(word) for word in words) + r")(?!\w)", re.IGNORECASE)
