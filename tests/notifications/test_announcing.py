"""What admins tell people, and sellers the buyers of their orders: to whom, how often, and to nobody else."""

from contextlib import AbstractContextManager
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.notifications.feeds import as_system, deliver, make_people, make_person, read_feed
from tests.orders.market import buy, fill_cart, make_seller, open_market, put_on_sale

from souk import notifications, orders, users
from souk.app import Shop
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound, TooMany, Unauthenticated
from souk.kit.ids import new_id
from souk.notifications import announcing, fanning_out, planning
from souk.notifications.announcing import NewAnnouncement
from souk.notifications.campaign_types import Words
from souk.notifications.database import db
from souk.notifications.limits import limits

pytestmark = pytest.mark.usefixtures("shop")

SAID = {"subject": "New hours", "text": "On Monday we begin an hour later."}


def as_admin(key: str | None = None) -> AbstractContextManager[None]:
    return asking(Caller(Principal("user", new_id(), ("admin",)), request_id="test", idempotency_key=key))


class Market:
    """Two sellers, and what is bought of one of them."""

    def __init__(self, seller: UUID, other: UUID) -> None:
        self.seller, self.other = seller, other

    async def sell(self, user_id: UUID, seller_id: UUID | None = None) -> UUID:
        """An order of this buyer of goods of the seller."""
        sku = "MUG" if seller_id in (None, self.seller) else "LAMP"
        cart_id = await fill_cart(user_id, (sku, 1))
        with asked_by("buyer", user_id=user_id):
            return (await orders.place_order(buy(cart_id))).id


@pytest.fixture
async def market(shop: Shop) -> Market:
    await open_market()
    found = Market(await make_seller(), await make_seller("Other"))
    await put_on_sale("MUG", 1200, 10, found.seller)
    await put_on_sale("LAMP", 1200, 10, found.other)
    return found


async def bring() -> None:
    """Plan and deliver all that is to be told."""
    with as_system():
        await planning.plan_all()
        while await fanning_out.move_campaigns():
            continue
    await deliver()


async def test_an_admin_tells_some_users_once() -> None:
    ada, bob, eve = await make_people(3)
    admin = as_admin("one")
    with admin:
        first = await notifications.send_announcement(NewAnnouncement(**SAID, user_ids=(ada, bob), path="/shop"))
        assert await notifications.send_announcement(NewAnnouncement(**SAID, user_ids=(ada, bob), path="/shop")) == first
    await bring()
    for one in (ada, bob):
        (item,) = (await read_feed(one)).items
        assert (item.kind, item.message, item.link, item.data["text"]) == ("announcement", "New hours", "/shop", SAID["text"])
    assert (await read_feed(eve)).items == ()


async def test_everybody_is_a_campaign_that_begins_now() -> None:
    people = await make_people(5)
    with as_admin():
        made = await notifications.send_announcement(NewAnnouncement(**SAID, everybody=True))
    await bring()
    assert made.campaign_id is not None
    for one in people:
        assert [item.message for item in (await read_feed(one)).items] == ["New hours"]


async def test_everybody_is_told_in_their_own_language_however_they_are_chosen() -> None:
    ada, bob, eve = await make_people(3)
    for person, language in ((ada, "de-AT"), (bob, "fr")):
        with asked_by("buyer", user_id=person):
            await users.set_preferences(person, users.SetPreferences(language=language))
    words = {"de": Words("Neue Zeiten", "Montags eine Stunde später."), "en": Words("New hours", "An hour later on Mondays.")}
    for whom in ({"user_ids": (ada, bob, eve)}, {"everybody": True}):
        with as_admin():
            await notifications.send_announcement(NewAnnouncement(words=words, path="/shop", **whom))
        await bring()
        for person, message in ((ada, "Neue Zeiten"), (bob, "New hours"), (eve, "New hours")):
            item = (await read_feed(person)).items[0]
            assert (item.message, item.link, item.data["text"]) == (message, "/shop", words["de" if person == ada else "en"].text)
            assert "words" not in item.data


async def test_a_seller_writes_to_a_buyer_in_both_of_their_languages(market: Market) -> None:
    ada = await make_person()
    with asked_by("buyer", user_id=ada):
        await users.set_preferences(ada, users.SetPreferences(language="de"))
    order_id = await market.sell(ada)
    words = {"en": Words("Engraving", "Which name?"), "de": Words("Gravur", "Welcher Name?")}
    with asked_by("seller", sells_for=(market.seller,)):
        await notifications.send_announcement(NewAnnouncement(words=words, order_id=order_id))
    await bring()
    (item,) = (await read_feed(ada)).items
    assert item.message.endswith(": Gravur")


async def test_an_announcement_has_words_of_one_kind() -> None:
    words = {"en": Words(**SAID)}
    with as_admin():
        for said in ({}, {"subject": "No text"}, {"text": "No subject"}, {"words": words, **SAID}, {"words": words, "text": "More"}):
            with pytest.raises(InvalidField):
                await notifications.send_announcement(NewAnnouncement(**said, everybody=True))


async def test_a_seller_writes_to_the_buyer_of_an_order_about_it(market: Market) -> None:
    ada = await make_person()
    order_id = await market.sell(ada)
    with asked_by("seller", sells_for=(market.seller,)):
        await notifications.send_announcement(NewAnnouncement(**SAID, order_id=order_id))
    await bring()
    (item,) = (await read_feed(ada)).items
    assert (item.kind, item.topic, item.link) == ("order_message", "order_updates", f"/shop/orders/{order_id}")
    assert item.message.endswith(": New hours")


async def test_nobody_writes_to_whom_they_have_nothing_to_tell(market: Market) -> None:
    ada = await make_person()
    order_id, others = await market.sell(ada), await market.sell(ada, market.other)
    to_order, to_other = NewAnnouncement(**SAID, order_id=order_id), NewAnnouncement(**SAID, order_id=others)
    with asked_by("seller", sells_for=(market.seller,)):
        unknown, as_other = NewAnnouncement(**SAID, order_id=new_id()), NewAnnouncement(**SAID, order_id=order_id, seller_id=market.other)
        for attempt in (to_other, unknown, as_other):
            with pytest.raises(NotFound):
                await notifications.send_announcement(attempt)
        for whom in ({"user_ids": (ada,)}, {"everybody": True}, {"role": "buyer"}):
            with pytest.raises(Forbidden):
                await notifications.send_announcement(NewAnnouncement(**SAID, **whom))
    with asked_by("buyer", user_id=ada), pytest.raises(Forbidden):
        await notifications.send_announcement(to_order)
    with pytest.raises(Unauthenticated):
        await notifications.send_announcement(to_order)
    with as_admin():
        for attempt in (NewAnnouncement(**SAID), NewAnnouncement(**SAID, everybody=True, role="buyer")):
            with pytest.raises(InvalidField):
                await notifications.send_announcement(attempt)
    assert await db.value("SELECT count(*) FROM notifications.notice") == 0


async def test_a_seller_does_not_write_too_much(market: Market) -> None:
    before = limits.now.messages_per_order, limits.now.messages_per_seller
    ada = await make_person()
    first, second = await market.sell(ada), await market.sell(ada)
    limits.replace(messages_per_order=2, messages_per_seller=3)
    try:
        with asked_by("seller", sells_for=(market.seller,)):
            for order_id in (first, first, second):
                await notifications.send_announcement(NewAnnouncement(**SAID, order_id=order_id))
            for order_id in (first, second):
                with pytest.raises(TooMany):
                    await notifications.send_announcement(NewAnnouncement(**SAID, order_id=order_id))
        await db.pool.execute("UPDATE notifications.seller_message SET created_at = now() - interval '3 days'")
        assert await announcing.forget_written() == 3
    finally:
        limits.replace(messages_per_order=before[0], messages_per_seller=before[1])
