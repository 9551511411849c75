"""REST: unsubscribing with one click, reports of mail servers, addresses that get nothing, and how messages look."""

from datetime import datetime
from html import escape
from typing import Annotated, Literal

import msgspec
from litestar import MediaType, Request, Response
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from souk.kit.errors import InvalidField, NotFound
from souk.kit.http import ADMIN, PUBLIC, SIGNED_WEBHOOK, Cursor, Limit, Page, make_page, or_text, read_cursor, route
from souk.notifications import bounces, suppressions, unsubscribing
from souk.notifications.bounces import MailReceipt, MailReport
from souk.notifications.formats import direction_of
from souk.notifications.rendering import Recipient, Told, render_letter, render_short
from souk.notifications.settings import settings
from souk.notifications.suppressions import Suppressed
from souk.notifications.topics import KINDS
from souk.notifications.wording import Unrenderable, find_phrases, forms, known_languages, languages_for

ONE_CLICK = b"List-Unsubscribe=One-Click"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
REPORTS = ("message/rfc822", "multipart/report")
# No script, nothing from elsewhere, and no place in another page.
PAGE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"}
# A message shown to an admin is a page of its own that can do nothing, even if it is opened within another.
SANDBOX = {"content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: https:; base-uri 'none'"}
PRIVATE = {"cache-control": "private, no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
FRAME = """<!doctype html>
<html lang="{language}" dir="{direction}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{shop}</title>
<style>body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 30rem; margin: 12vh auto; padding: 0 1rem }}
button {{ font: inherit; padding: .6rem 1.4rem }}</style></head>
<body><main><h1>{shop}</h1>{content}</main></body>
</html>
"""
BUTTON = '<p>{asked}</p><form method="post"><button name="List-Unsubscribe" value="One-Click">{text}</button></form>'

SHOWN = {200: ResponseSpec(str, description="A page", media_type=MediaType.HTML, generate_examples=False)}

UnsubscribeToken = Annotated[str, PathParameter(max_length=400)]
SuppressionId = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{64}(?!\n)$")]
ListedAddress = Annotated[str | None, QueryParameter(max_length=254, description="Only this address")]


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that is to get nothing any more."""

    address: Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^\s<>]+@[^\s<>]+(?!\n)$", examples=["ada@example.com"])]


class Template(msgspec.Struct, frozen=True):
    """A kind of message, and the languages in which it can be read."""

    kind: str
    topic: str
    urgency: str
    languages: tuple[str, ...]
    variables: tuple[str, ...]


@route("GET", "/notifications/unsubscribe/{token:str}", PUBLIC, cache_control=None, responses=SHOWN)
async def show_unsubscribing(token: UnsubscribeToken) -> Response[str]:
    """A page with a button that ends a topic. Looking at it changes nothing."""
    ended = await unsubscribing.check_unsubscribing(token)
    phrases = find_phrases(language_of(ended.language))
    return page(ended.language, BUTTON.format(asked=escape(phrases.unsubscribe_ask), text=escape(phrases.unsubscribe)))


@route("POST", "/notifications/unsubscribe/{token:str}", PUBLIC, status_code=200, opt={"media_types": FORMS}, responses=SHOWN)
async def unsubscribe(request: Request[object, object, State], token: UnsubscribeToken) -> Response[str]:
    """Send no more mails on the topic of the mail that has this link (RFC 8058): a form with `List-Unsubscribe=One-Click`."""
    body = await request.body()
    if ONE_CLICK not in body and not (b'name="List-Unsubscribe"' in body and b"One-Click" in body):
        raise InvalidField("List-Unsubscribe", "is to be One-Click")
    ended = await unsubscribing.unsubscribe_from_topic(token)
    return page(ended.language, f"<p>{escape(find_phrases(language_of(ended.language)).unsubscribe_done)}</p>")


@route("POST", "/notifications/webhooks/mail", SIGNED_WEBHOOK, status_code=200, opt={"media_types": REPORTS})
async def receive_mail_report(request: Request[object, object, State]) -> MailReceipt:
    """Where mail servers and providers tell of letters that came back, or that somebody calls spam."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return await bounces.receive_mail_report(MailReport(headers, await request.body()))


@route("GET", "/notifications/suppressions", ADMIN)
async def list_suppressions(address: ListedAddress = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Suppressed]:
    """Addresses that get nothing any more, the newest first. They are known by a hash."""
    rows = await suppressions.list_suppressions(address, limit + 1, read_cursor(cursor, tuple[datetime, bytes]))
    return make_page(rows, limit, lambda row: (row.created_at, bytes.fromhex(row.id)))


@route("POST", "/notifications/suppressions", ADMIN, status_code=204)
async def suspend_address(data: JSONBody[Address]) -> None:
    """Send nothing to an address any more. A repeated request changes nothing."""
    await suppressions.suspend_address(data.address)


@route("DELETE", "/notifications/suppressions/{suppression_id:str}", ADMIN)
async def release_address(suppression_id: SuppressionId) -> None:
    """Send to an address again. A repeated request changes nothing."""
    await suppressions.release_address(suppression_id)


@route("GET", "/notifications/templates", ADMIN)
async def list_templates() -> tuple[Template, ...]:
    """Every kind of message."""
    languages = known_languages()
    return tuple(
        Template(kind.name, kind.topic.name, kind.topic.urgency, languages, tuple(forms()[kind.name].sample)) for kind in KINDS.values()
    )


@route("GET", "/notifications/templates/{kind:str}/preview", ADMIN, responses=SHOWN, operation_class=or_text(MediaType.TEXT))
async def preview_template(
    kind: FromPath[str],
    language: Annotated[str, QueryParameter(max_length=35, pattern=r"^[A-Za-z0-9-]+(?!\n)$")] = "en",
    channel: Annotated[Literal["email", "text", "short"], QueryParameter(description="Page, text or line")] = "email",
) -> Response[str]:
    """How a message looks, with sample content: its page, its text, or its line."""
    form = forms().get(kind)
    if form is None:
        raise NotFound
    reader = Recipient(language, "UTC", "Ada Lovelace")
    try:
        if channel == "short":
            return Response(render_short(kind, language, form.sample, reader), media_type=MediaType.TEXT, headers=PRIVATE)
        letter = render_letter([Told(kind, form.sample)], reader, settings.now.public_url)
    except Unrenderable as mistake:
        raise InvalidField("kind", str(mistake)) from mistake
    if channel == "text":
        return Response(letter.text, media_type=MediaType.TEXT, headers=PRIVATE)
    return Response(letter.html, media_type=MediaType.HTML, headers={**PRIVATE, **SANDBOX})


def language_of(language: str) -> str:
    """The first language of somebody's that has words."""
    return next(one for one in languages_for(language) if one in known_languages())


def page(language: str, content: str) -> Response[str]:
    used = language_of(language)
    text = FRAME.format(language=used, direction=direction_of(used), shop=escape(settings.now.shop_name), content=content)
    return Response(text, media_type=MediaType.HTML, headers={**PRIVATE, **PAGE})


routes: tuple[BaseRouteHandler, ...] = (
    show_unsubscribing,
    unsubscribe,
    receive_mail_report,
    list_suppressions,
    suspend_address,
    release_address,
    list_templates,
    preview_template,
)
