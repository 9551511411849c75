"""How people are reached and what they want to hear of: for those who tell them, and for nobody else."""

from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.users.contact_types import Contact, Segment
from souk.users.database import db
from souk.users.sessions import Id
from souk.users.types import Member

FIND = """
    SELECT u.id AS user_id, u.email, u.email_verified_at IS NOT NULL AS email_verified, u.name, u.phone_number,
           coalesce(p.language, 'en') AS language, p.currency, coalesce(p.timezone, 'UTC') AS timezone,
           coalesce(p.notifications, '{}') AS notifications, p.quiet_hours, coalesce(p.digests, '{}') AS digests
    FROM users.users AS u LEFT JOIN users.user_preferences AS p ON p.user_id = u.id
    WHERE u.id = ANY($1) ORDER BY u.id
"""
LIST = """
    SELECT u.id AS user_id, u.email, u.email_verified, u.name, u.phone_number,
           coalesce(p.language, 'en') AS language, p.currency, coalesce(p.timezone, 'UTC') AS timezone,
           coalesce(p.notifications, '{}') AS notifications, p.quiet_hours, coalesce(p.digests, '{}') AS digests
    FROM users.person AS u LEFT JOIN users.user_preferences AS p ON p.user_id = u.id
    WHERE u.id > $1 AND u.email_verified
      AND ($3::text IS NULL OR $3 = ANY (u.roles))
      AND ($4::text IS NULL OR coalesce(p.language, 'en') = $4 OR starts_with(coalesce(p.language, 'en'), $4 || '-'))
      AND ($5::timestamptz IS NULL OR u.created_at >= $5)
      AND ($6::timestamptz IS NULL OR u.created_at < $6)
      AND ($7::uuid[] IS NULL OR u.id = ANY ($7))
      AND ($8::boolean IS NULL OR $8 = coalesce(cardinality(p.categories) + cardinality(p.brands) > 0, false))
    ORDER BY u.id LIMIT $2
"""
FIND_TEAMS = "SELECT * FROM users.seller_member WHERE seller_id = ANY($1) ORDER BY seller_id, user_id"
FIND_ADMINS = "SELECT id FROM users.users WHERE 'admin' = ANY (roles) ORDER BY id"


@exposed()
async def get_contacts(user_ids: tuple[UUID, ...]) -> tuple[Contact, ...]:
    """How each of these users is reached now; who is gone is left out. Raises Forbidden for anybody but admins."""
    caller().principal.require_admin()
    return await db.all(Contact, FIND, list(user_ids))


@exposed(timeout=20.0)
async def list_contacts(segment: Segment, after: UUID | None, limit: int) -> tuple[Contact, ...]:
    """The next users of a segment in the order of their ids: those who have shown that their address is theirs.

    Less than `limit` if there are no more. Raises Forbidden for anybody but admins.
    """
    caller().principal.require_admin()
    chosen = None if segment.user_ids is None else list(segment.user_ids)
    registered = (segment.registered_from, segment.registered_before)
    wanted = (segment.role, segment.language, *registered, chosen, segment.has_likings)
    return await db.search(Contact, LIST, after or UUID(int=0), limit, *wanted)


@exposed()
async def get_teams(seller_ids: tuple[UUID, ...]) -> tuple[Member, ...]:
    """Everybody in the teams of these sellers. Raises Forbidden for anybody but admins."""
    caller().principal.require_admin()
    return await db.all(Member, FIND_TEAMS, list(seller_ids))


@exposed()
async def list_admins() -> tuple[UUID, ...]:
    """Who runs the shop. Raises Forbidden for anybody else."""
    caller().principal.require_admin()
    return tuple(row.id for row in await db.all(Id, FIND_ADMINS))
