"""Who is meant by a notice: a user, a seller's team, the buyer of an order, all admins; asked of users in batches, as they are now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from souk import orders, users
from souk.notifications.topics import KINDS
from souk.notifications.types import Notice
from souk.users import Contact

Orders = Mapping[UUID, orders.Order]


class Recipient(msgspec.Struct, frozen=True):
    """Somebody who is told: a user, or a guest by their order; perhaps as one of a seller's team."""

    user_id: UUID | None = None
    order_id: UUID | None = None
    seller_id: UUID | None = None
    contact: Contact | None = None


async def find_recipients(notices: Sequence[Notice], known_orders: Orders) -> dict[UUID, tuple[Recipient, ...]]:
    """Who is meant by each notice; nobody by one whose user, team or order is gone."""
    sellers = sorted({notice.recipient_id for notice in notices if notice.recipient_kind == "seller"})
    teams: defaultdict[UUID, list[users.Member]] = defaultdict(list)
    for member in await users.get_teams(tuple(sellers)) if sellers else ():
        teams[member.seller_id].append(member)
    admins = await users.list_admins() if any(notice.recipient_kind == "admins" for notice in notices) else ()
    meant = {notice.id: find_meant(notice, known_orders, teams, admins) for notice in notices}
    asked = sorted({one.user_id for those in meant.values() for one in those if one.user_id is not None})
    contacts = {contact.user_id: contact for contact in await users.get_contacts(tuple(asked))} if asked else {}
    return {notice_id: tuple(reached for one in those if (reached := reach(one, contacts))) for notice_id, those in meant.items()}


def find_meant(
    notice: Notice, known_orders: Orders, teams: Mapping[UUID, Sequence[users.Member]], admins: Sequence[UUID]
) -> tuple[Recipient, ...]:
    """The recipients of a notice, of whom it is not known yet how they are reached."""
    match notice.recipient_kind:
        case "user":
            return (Recipient(notice.recipient_id),)
        case "admins":
            return tuple(Recipient(user_id) for user_id in admins)
        case "seller":
            only_owners = KINDS[notice.kind].owners_only
            team = (member for member in teams.get(notice.recipient_id, ()) if member.role == "owner" or not only_owners)
            return tuple(Recipient(member.user_id, seller_id=notice.recipient_id) for member in team)
        case "order":
            order = known_orders.get(notice.recipient_id)
            if order is None or (order.user_id is None and order.email is None):
                return ()
            return (Recipient(order.user_id, order.id),)


def reach(recipient: Recipient, contacts: Mapping[UUID, Contact]) -> Recipient | None:
    """The recipient with how they are reached; None for a user who is gone. A guest is reached by their order."""
    if recipient.user_id is None:
        return recipient
    contact = contacts.get(recipient.user_id)
    return msgspec.structs.replace(recipient, contact=contact) if contact else None
