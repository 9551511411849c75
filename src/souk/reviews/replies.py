"""What sellers answer: one reply per review."""

from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.reviews.database import db
from souk.reviews.events import ReviewReplied
from souk.reviews.records import StoredReview, lock_public, read_review, show
from souk.reviews.types import AlreadyReplied, Review

WRITE_REPLY = """
    UPDATE reviews.review SET reply = $2, replied_at = coalesce(replied_at, now()), reply_changed_at = now(), updated_at = now()
    WHERE id = $1
"""
REMOVE_REPLY = """
    UPDATE reviews.review SET reply = NULL, replied_at = NULL, reply_changed_at = NULL, updated_at = now() WHERE id = $1
"""


@exposed()
async def reply_to_review(review_id: UUID, comment: str) -> Review:
    """Answer a review of the caller's own goods. The same words again change nothing.

    Raises NotFound, also for a review of another's goods, and AlreadyReplied for other words.
    """
    async with db.transaction() as tx:
        found = await lock_of_seller(tx, review_id)
        if found.reply is None:
            await tx.run(WRITE_REPLY, review_id, comment)
            await publish(tx, ReviewReplied(review_id, found.product_id, found.seller_id, found.user_id))
        elif found.reply.comment != comment:
            raise AlreadyReplied
        return await read_review(tx, review_id)


@exposed()
async def change_reply(review_id: UUID, comment: str) -> Review:
    """Answer with other words. Repeating changes nothing more. Raises NotFound, also where there is no reply."""
    async with db.transaction() as tx:
        found = await lock_of_seller(tx, review_id)
        if found.reply is None:
            raise NotFound
        if found.reply.comment == comment:
            return show(found)
        await tx.run(WRITE_REPLY, review_id, comment)
        return await read_review(tx, review_id)


@exposed()
async def remove_reply(review_id: UUID) -> None:
    """Take one's reply back; an admin may, too. Without one it changes nothing. Raises NotFound for a review of another's goods."""
    async with db.transaction() as tx:
        found = await lock_public(tx, review_id)
        if not caller().principal.manages(found.seller_id):
            raise NotFound
        if found.reply is not None:
            await tx.run(REMOVE_REPLY, review_id)


async def lock_of_seller(tx: Transaction, review_id: UUID) -> StoredReview:
    """A review of what the caller sells, locked; raises NotFound, for admins, too: nobody speaks for a seller."""
    found = await lock_public(tx, review_id)
    if not caller().principal.sells_for(found.seller_id):
        raise NotFound
    return found
