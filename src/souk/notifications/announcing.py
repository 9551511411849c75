"""What admins tell people, and sellers the buyers of their orders: it becomes notices, which are planned like any other."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from souk import orders
from souk.kit.callers import Principal, caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import Forbidden, InvalidField, NotFound, TooMany
from souk.kit.idempotency import once
from souk.kit.ids import derive_id, new_id
from souk.notifications import notices
from souk.notifications.bells import wake_campaigns
from souk.notifications.campaign_types import AllWords, Campaign, Path, PlainText, Subject, Words, choose_words
from souk.notifications.campaigns import ADD, NOW, SCHEDULE
from souk.notifications.database import db
from souk.notifications.limits import limits
from souk.notifications.types import Content, Notice, RecipientKind
from souk.users import Role, Segment

# Who writes for one seller is counted one after the other.
LOCK_SELLER = "SELECT pg_advisory_xact_lock(hashtextextended('notifications.seller:' || $1::text, 0))"
COUNT_WRITTEN = """
    SELECT count(*) FILTER (WHERE order_id = $2 AND created_at > now() - interval '1 day') AS to_order,
           count(*) FILTER (WHERE created_at > now() - interval '1 hour') AS of_seller
    FROM notifications.seller_message WHERE seller_id = $1 AND created_at > now() - interval '1 day'
"""
NOTE_WRITTEN = "INSERT INTO notifications.seller_message (id, seller_id, order_id) VALUES ($1, $2, $3)"
FORGET_WRITTEN = "DELETE FROM notifications.seller_message WHERE created_at < now() - interval '2 days'"


class NewAnnouncement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What somebody is told, and who: these users, all of a role or everybody (admins), or the buyer of an order (its sellers, too)."""

    subject: Subject | None = None
    text: PlainText | None = None
    words: Annotated[AllWords | None, Meta(description="By language, in place of `subject` and `text`")] = None
    path: Path | None = None
    user_ids: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=1_000)] | None = None
    role: Role | None = None
    everybody: bool = False
    order_id: UUID | None = None
    seller_id: Annotated[UUID | None, Meta(description="For which seller you write, if you sell for several")] = None


class Announced(msgspec.Struct, frozen=True):
    """What it has become: notices, or a campaign."""

    notice_ids: tuple[UUID, ...]
    campaign_id: UUID | None = None


class Written(msgspec.Struct, frozen=True):
    """How much a seller has written of late."""

    to_order: int
    of_seller: int


@exposed()
async def send_announcement(new: NewAnnouncement) -> Announced:
    """Tell people something; whether, when and on which channels each of them has it is for their preferences to say.

    Again with the same key tells nobody again. Sellers write to the buyers of their orders about these orders, and not too much. Raises
    Forbidden, NotFound for another's order, TooMany, InvalidField.
    """
    who = caller().principal
    who.require_user()
    if sum((new.user_ids is not None, new.role is not None, new.everybody, new.order_id is not None)) != 1:
        raise InvalidField("order_id", "give one of user_ids, role, everybody and order_id")
    words_of(new)
    if new.order_id is not None:
        seller_id = await find_writer(who, new.order_id, new.seller_id)
        return await once(db, new, lambda tx: write_to_buyer(tx, new, seller_id))
    if not who.is_admin:
        raise Forbidden
    return await once(db, new, lambda tx: write_to_users(tx, new) if new.user_ids is not None else write_to_many(tx, new, who))


async def find_writer(who: Principal, order_id: UUID, seller_id: UUID | None) -> UUID | None:
    """For which of its sellers somebody writes about an order; None for the shop. Raises NotFound for another's order."""
    writer = who.choose_seller(seller_id)
    order = await orders.get_order(order_id)
    if writer is not None and writer not in {part.seller_id for part in order.parts}:
        raise NotFound
    return writer


async def write_to_buyer(tx: Transaction, new: NewAnnouncement, seller_id: UUID | None) -> Announced:
    """Write to the buyer of an order; raises TooMany if its seller has written enough."""
    assert new.order_id is not None  # noqa: S101  it was looked at
    notice_id = new_id()
    if seller_id is not None:
        await tx.run(LOCK_SELLER, str(seller_id))
        written = await tx.one(Written, COUNT_WRITTEN, seller_id, new.order_id)
        if written.to_order >= limits.now.messages_per_order or written.of_seller >= limits.now.messages_per_seller:
            raise TooMany(3600)
        await tx.run(NOTE_WRITTEN, notice_id, seller_id, new.order_id)
    told = {name: value for name, value in content_of(new).items() if name != "path"}
    about: Content = {"order_id": new.order_id, **({} if seller_id is None else {"seller_id": seller_id})}
    await write_notices(tx, [(notice_id, "order_message", "order", new.order_id, {**told, **about})])
    return Announced((notice_id,))


async def write_to_users(tx: Transaction, new: NewAnnouncement) -> Announced:
    """Write to each of these users."""
    fact_id, now = new_id(), await tx.value(NOW)
    found = {user_id: derive_id(now, f"{fact_id}/{user_id}") for user_id in new.user_ids or ()}
    content = content_of(new)
    await write_notices(tx, [(notice_id, "announcement", "user", user_id, content) for user_id, notice_id in found.items()])
    return Announced(tuple(found.values()))


async def write_to_many(tx: Transaction, new: NewAnnouncement, who: Principal) -> Announced:
    """Write to all of a role, or to everybody: that is a campaign which begins now."""
    words = words_of(new)
    values = (choose_words(words, "en").subject, words, new.path, None, Segment(role=new.role), who.user_id)
    campaign = await tx.one(Campaign, ADD, new_id(), *values)
    await tx.run(SCHEDULE, campaign.id, None, False)
    wake_campaigns(tx)
    return Announced((), campaign.id)


async def write_notices(tx: Transaction, wanted: list[tuple[UUID, str, RecipientKind, UUID, Content]]) -> None:
    """Write notices of this moment."""
    now: datetime = await tx.value(NOW)
    await notices.write_notices(tx, (Notice(one, kind, one, whom, whom_id, said, now) for one, kind, whom, whom_id, said in wanted))


def content_of(new: NewAnnouncement) -> Content:
    """What an announcement says, in each of its languages."""
    content: Content = {"words": msgspec.to_builtins(words_of(new))}
    return content if new.path is None else {**content, "path": new.path}


def words_of(new: NewAnnouncement) -> dict[str, Words]:
    """The words of an announcement by language; raises InvalidField if there are none, or two kinds of them."""
    if new.words is not None and new.subject is None and new.text is None:
        return new.words
    if new.words is None and new.subject is not None and new.text is not None:
        return {"en": Words(new.subject, new.text)}
    raise InvalidField("words", "give either these, or subject and text")


async def forget_written() -> int:
    """Forget what is not counted any more; how many."""
    async with db.transaction() as tx:
        return await tx.run(FORGET_WRITTEN)
