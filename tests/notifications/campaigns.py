"""What tests of campaigns share: one that is written, begun, moved on, and who was told of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from tests.conftest import asked_by
from tests.notifications.feeds import as_system

from souk import notifications
from souk.notifications import fanning_out, rules
from souk.notifications.campaign_types import NewCampaign, Schedule, Words
from souk.notifications.database import db

WORDS = {"en": Words("Spring sale", "Until Sunday."), "de": Words("Frühling", "Bis Sonntag.")}
BREAK_OFF = """
    CREATE FUNCTION notifications.break_off() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF random() < TG_ARGV[0]::float8 THEN RAISE 'broken off'; END IF; RETURN NULL; END $$
"""


async def write(**fields: object) -> notifications.Campaign:
    with asked_by("admin"):
        return await notifications.create_campaign(NewCampaign(**{"name": "Spring", "words": WORDS, **fields}))


async def schedule(campaign: notifications.Campaign, **when: object) -> notifications.Campaign:
    with asked_by("admin"):
        return await notifications.set_campaign_schedule(campaign.id, Schedule(**when))


async def begin(**fields: object) -> notifications.Campaign:
    return await schedule(await write(**fields))


async def step() -> int:
    with as_system():
        return await fanning_out.move_campaigns()


async def go_on() -> None:
    while await step():
        continue


async def look(campaign: notifications.Campaign) -> notifications.CampaignReport:
    with asked_by("admin"):
        return await notifications.get_campaign(campaign.id)


async def told(campaign: notifications.Campaign, channel: str = "email") -> list[UUID]:
    """Whom a campaign has a message for, as often as it has one."""
    async with db.transaction() as tx:
        sql = "SELECT user_id FROM notifications.message WHERE notice_id = $1 AND channel = $2 ORDER BY user_id"
        return [row["user_id"] for row in await tx.connection.fetch(sql, campaign.id, channel)]


async def in_feeds() -> list[UUID]:
    """Whose feeds there is something in, as often as there is."""
    return [row["user_id"] for row in await db.pool.fetch("SELECT user_id FROM notifications.feed_item ORDER BY user_id")]


async def check_books() -> None:
    for rule in rules.RULES:
        if not rule.settled:
            assert await db.value(f"SELECT jsonb_agg(to_jsonb(broken)) FROM ({rule.sql}) AS broken") is None, rule.statement


@asynccontextmanager
async def breaking_off(where: str, share: float = 0.0) -> AsyncIterator[None]:
    """Inside, many a transaction that writes there is broken off when it commits: for so large a share of its rows."""
    share = share or (0.05 if "message" in where else 0.7)
    await db.pool.execute(BREAK_OFF)
    when = f"{where} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    await db.pool.execute(f"CREATE CONSTRAINT TRIGGER break_off {when} EXECUTE FUNCTION notifications.break_off('{share}')")
    yield
    await db.pool.execute("DROP FUNCTION notifications.break_off CASCADE")
