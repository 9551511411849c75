"""How messages look, shown to admins in a page that can do nothing."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.notifications.feeds import Web, make_people, serve

from souk.app import Shop
from souk.kit.callers import Caller, Principal, asking
from souk.notifications import http_mail
from souk.notifications.topics import KINDS


@pytest.fixture
async def web(shop: Shop) -> AsyncIterator[Web]:
    async with serve() as web:
        yield web


async def test_strangers_and_buyers_see_none(web: Web) -> None:
    (buyer,) = await make_people()
    for path in ("/notifications/templates", "/notifications/templates/welcome/preview"):
        assert (await web.ask("GET", path))[0] == 401
        assert (await web.ask("GET", path, buyer))[0] == 403


async def test_every_kind_is_listed_and_shown_where_it_can_do_nothing() -> None:
    with asking(Caller(Principal("user", UUID(int=1), ("admin",)), request_id="test")):
        listed = await http_mail.list_templates.fn()
        assert {one.kind for one in listed} == KINDS.keys()
        for one in listed:
            for language in one.languages:
                page = await http_mail.preview_template.fn(one.kind, language, "email")
                assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
                assert f'lang="{language}"' in page.content
        text = await http_mail.preview_template.fn("order_placed", "de-AT", "text")
        assert "Vielen Dank" not in text.content
        assert "Wir haben Ihre Bestellung" in text.content
        assert "1042" in (await http_mail.preview_template.fn("order_placed", "en", "short")).content
