"""Campaigns over HTTP."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from souk.kit.http import ADMIN, Cursor, Limit, Page, route
from souk.notifications import campaigns
from souk.notifications.campaign_types import (
    AskTest,
    Campaign,
    CampaignChange,
    CampaignPreview,
    CampaignReport,
    CampaignStatus,
    NewCampaign,
    Schedule,
)

OfStatus = Annotated[CampaignStatus | None, QueryParameter(description="That stand so")]
InLanguage = Annotated[str, QueryParameter(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}(?!\n)$", description="As who reads this language")]


class TestSent(msgspec.Struct, frozen=True):
    """Where to look what became of it: `GET /notifications/messages?notice_id=`."""

    notice_id: UUID


@route("POST", "/campaigns", ADMIN)
async def create_campaign(data: JSONBody[NewCampaign]) -> Campaign:
    """Write a campaign. Nothing is sent until it is scheduled."""
    return await campaigns.create_campaign(data)


@route("GET", "/campaigns", ADMIN)
async def list_campaigns(status: OfStatus = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Campaign]:
    """Campaigns, the newest first."""
    return await campaigns.list_campaigns(status, limit, cursor)


@route("GET", "/campaigns/{campaign_id:uuid}", ADMIN)
async def get_campaign(campaign_id: FromPath[UUID]) -> CampaignReport:
    """A campaign, and what became of its messages: by channel, state and reason."""
    return await campaigns.get_campaign(campaign_id)


@route("PATCH", "/campaigns/{campaign_id:uuid}", ADMIN)
async def change_campaign(campaign_id: FromPath[UUID], data: JSONBody[CampaignChange]) -> Campaign:
    """Change a campaign that has not begun."""
    return await campaigns.change_campaign(campaign_id, data)


@route("DELETE", "/campaigns/{campaign_id:uuid}", ADMIN)
async def remove_campaign(campaign_id: FromPath[UUID]) -> None:
    """Forget a campaign that never began."""
    await campaigns.remove_campaign(campaign_id)


@route("POST", "/campaigns/{campaign_id:uuid}/schedule", ADMIN, status_code=200)
async def schedule_campaign(campaign_id: FromPath[UUID], data: JSONBody[Schedule | None] = None) -> Campaign:
    """Send a campaign at a moment (`at`), when each recipient's own clock shows a time (`local`), or now."""
    return await campaigns.set_campaign_schedule(campaign_id, data or Schedule())


@route("POST", "/campaigns/{campaign_id:uuid}/pause", ADMIN, status_code=200)
async def pause_campaign(campaign_id: FromPath[UUID]) -> Campaign:
    """Send nothing more of it until it is resumed. What is just leaving leaves."""
    return await campaigns.hold_campaign(campaign_id)


@route("POST", "/campaigns/{campaign_id:uuid}/resume", ADMIN, status_code=200)
async def resume_campaign(campaign_id: FromPath[UUID]) -> Campaign:
    """Go on where it was paused."""
    return await campaigns.resume_campaign(campaign_id)


@route("POST", "/campaigns/{campaign_id:uuid}/cancel", ADMIN, status_code=200)
async def cancel_campaign(campaign_id: FromPath[UUID]) -> Campaign:
    """Send nothing more of it, ever. What is just leaving leaves."""
    return await campaigns.cancel_campaign(campaign_id)


@route("GET", "/campaigns/{campaign_id:uuid}/preview", ADMIN)
async def preview_campaign(campaign_id: FromPath[UUID], language: InLanguage = "en") -> CampaignPreview:
    """A campaign as its recipients get it: subject, text, page and line."""
    return await campaigns.describe_campaign(campaign_id, language)


@route("POST", "/campaigns/{campaign_id:uuid}/test", ADMIN)
async def test_campaign(campaign_id: FromPath[UUID], data: JSONBody[AskTest | None] = None) -> TestSent:
    """Send it to yourself alone, as far as you want to be told of promotions."""
    return TestSent(await campaigns.send_campaign_test(campaign_id, data.language if data else None))


routes: tuple[BaseRouteHandler, ...] = (
    create_campaign,
    list_campaigns,
    get_campaign,
    change_campaign,
    remove_campaign,
    schedule_campaign,
    pause_campaign,
    resume_campaign,
    cancel_campaign,
    preview_campaign,
    test_campaign,
)
