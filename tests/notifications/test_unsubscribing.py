"""One click in a mail, without signing in: that topic ends on that channel at once, and looking at the link changes nothing."""

import aiohttp
import pytest
from tests.conftest import asked_by
from tests.notifications.conftest import Post
from tests.notifications.feeds import Web, as_system, make_people, serve
from tests.notifications.mails import intend, rows

from souk import users
from souk.app import Shop
from souk.kit.ids import new_id
from souk.notifications import sending
from souk.notifications.database import db
from souk.notifications.sealing import Wish, read_unsubscribe_token, write_unsubscribe_token

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CLICK = "List-Unsubscribe=One-Click"


async def ask(web: Web, method: str, token: str, body: str | None = None, **headers: str) -> tuple[int, str, aiohttp.ClientResponse]:
    url = f"{web.url}/notifications/unsubscribe/{token}"
    async with web.session.request(method, url, data=body, headers={**(FORM if body else {}), **headers}) as answer:
        return answer.status, await answer.text(), answer


async def is_off(wish: Wish) -> bool:
    with as_system():
        (contact,) = await users.get_contacts((wish.user_id,))
    return contact.notifications.get(wish.topic, {}).get(wish.channel) is False


async def test_one_click_ends_a_topic_and_what_must_be_told_is_told(shop: Shop, post: Post) -> None:
    post.use(public_url="https://shop.example")
    db.owner = 4711
    (person,) = await make_people()
    await intend([person], "campaign")
    with as_system():
        await sending.send_due("email")
    message = await post.read((await post.letters())[-1]["seq"])
    token = message["List-Unsubscribe"].strip("<>").rpartition("/")[2]
    assert message["List-Unsubscribe-Post"] == CLICK
    wish = Wish(person, "promotions", "email")
    assert read_unsubscribe_token(token) == wish
    waiting = await intend([person], "campaign")
    async with serve() as web:
        for _ in range(3):
            status, text, answer = await ask(web, "GET", token)
            assert (status, "<form" in text) == (200, True)
            assert "no-store" in answer.headers["cache-control"]
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (await ask(web, "HEAD", token))[0] != 500
        assert not await is_off(wish), "a program that follows links ends nothing"
        status, _, answer = await ask(web, "POST", token, CLICK)
        assert (status, answer.cookies) == (200, {})
        assert await is_off(wish)
        assert (await ask(web, "POST", token, CLICK))[0] == 200, "again changes nothing"
    await intend([person], "reset_password", content={})
    await intend([person], "order_shipped")
    with as_system():
        await sending.send_due("email")
    found = {row.id: row for row in (await rows()).values()}
    assert (found[waiting[0]].status, found[waiting[0]].reason) == ("suppressed", "opted_out")
    assert [row.status for row in found.values()].count("sent") == 3


@pytest.mark.parametrize("body", ["", "List-Unsubscribe=No", "x=1"])
async def test_only_the_words_of_the_standard_count(shop: Shop, body: str) -> None:
    (person,) = await make_people()
    wish = Wish(person, "promotions", "email")
    async with serve() as web:
        status, _, _ = await ask(web, "POST", write_unsubscribe_token(wish), body)
    assert status == 422
    assert not await is_off(wish)


async def test_a_form_of_several_parts_is_as_good(shop: Shop) -> None:
    (person,) = await make_people()
    wish = Wish(person, "promotions", "email")
    form = aiohttp.FormData({"List-Unsubscribe": "One-Click"}, default_to_multipart=True)
    path = f"/notifications/unsubscribe/{write_unsubscribe_token(wish)}"
    async with serve() as web, web.session.post(web.url + path, data=form) as answer:
        assert answer.status == 200
    assert await is_off(wish)


async def test_a_link_that_we_did_not_write_ends_nothing(shop: Shop) -> None:
    (person, other) = await make_people(2)
    good = write_unsubscribe_token(Wish(person, "promotions", "email"))
    forged = [good[:-1] + ("A" if good[-1] != "A" else "B"), "A" + good[1:], good[:30], "x", good[:24] + "%00" + good[25:]]
    unknown = write_unsubscribe_token(Wish(new_id(), "promotions", "email")), write_unsubscribe_token(Wish(person, "no_such", "email"))
    async with serve() as web:
        for token in (*forged, *unknown):
            for method in ("GET", "POST"):
                assert (await ask(web, method, token, CLICK if method == "POST" else None))[0] in (400, 404, 422)
    assert not await is_off(Wish(person, "promotions", "email"))
    assert not await is_off(Wish(other, "promotions", "email"))


async def test_who_changes_their_mind_gets_it_again(shop: Shop) -> None:
    (person,) = await make_people()
    wish = Wish(person, "promotions", "email")
    async with serve() as web:
        await ask(web, "POST", write_unsubscribe_token(wish), CLICK)
    with asked_by("buyer", user_id=person):
        await users.change_notifications(person, users.ChangeNotifications(notifications={"promotions": {"email": True}}))
    assert not await is_off(wish)
