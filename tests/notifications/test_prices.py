"""Who keeps a product in mind is told when it costs less than in all of the weeks before: once, and of no other change."""

import asyncio
from contextvars import copy_context
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.notifications.tidings import add_person, check_books, live_in, messages_of, plan
from tests.orders.market import as_system
from tests.torture import rounds
from tests.waiting import until

from souk import catalog
from souk.app import Shop
from souk.catalog.database import db as catalog_db
from souk.catalog.events import PriceChanged
from souk.kit.events import Delivered, Event
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.notifications import consumers, prices
from souk.notifications.database import db
from souk.reviews.events import FavoriteAdded, FavoriteRemoved
from souk.users.events import UserErased

LATER = """
    UPDATE notifications.lowest_price SET since = since - make_interval(days => $1), until = until - make_interval(days => $1)
"""
SET_PRICE = """
    UPDATE catalog.price SET amount = $3 WHERE currency = $2 AND variant_id IN (SELECT id FROM catalog.variant WHERE product_id = $1)
"""


class Thing:
    """A product, whose price changes."""

    def __init__(self, product_id: UUID) -> None:
        self.id = product_id

    async def cost(self, amount: int, currency: str = "USD", *, look: bool = True) -> None:
        """It costs so much from now on, and notifications hears of it."""
        await catalog_db.pool.execute(SET_PRICE, self.id, currency, amount)
        async with db.transaction() as tx:
            await consumers.note_prices(tx, news(PriceChanged(self.id, "THING", (Money(amount, currency),))))
        if look:
            await look_at_prices()


def news(*events: Event) -> tuple[Delivered[Event], ...]:
    return tuple(Delivered(one, new_id(), datetime.now(UTC)) for one in events)


async def make_thing(amount: int = 1000) -> Thing:
    variant = catalog.NewVariant("THING", (catalog.Price(amount, "USD"), catalog.Price(amount, "EUR")))
    with as_system():
        (product,) = await catalog.create_products(
            (catalog.NewProduct(name="A thing", seller_id=new_id(), status="published", variants=(variant,)),)
        )
    return Thing(product.id)


async def keep(thing: Thing, *user_ids: UUID) -> None:
    async with db.transaction() as tx:
        await consumers.follow_favorites(tx, news(*(FavoriteAdded(user_id, thing.id) for user_id in user_ids)))
    await look_at_prices()


async def look_at_prices() -> None:
    """What the loop does until nothing is left, and planning."""
    with as_system():
        while await prices.compare_prices() + await prices.tell_of_drops():
            pass
    await plan()


async def days_go_by(days: int) -> None:
    await db.pool.execute(LATER, days)


async def drops(user_id: UUID) -> list[tuple[int, int]]:
    """From what to what prices have dropped, as somebody was told by mail."""
    rows = [row["content"] for row in await messages_of(user_id) if row["channel"] == "email" and row["kind"] == "price_dropped"]
    return [(row["before"]["amount"], row["price"]["amount"]) for row in rows]


async def test_a_drop_is_told_once_to_each_who_keeps_it_in_mind(shop: Shop) -> None:
    ada, ben, eve = await add_person("ada"), await add_person("ben"), await add_person("eve")
    thing = await make_thing()
    await thing.cost(900)
    await keep(thing, ada, ben)
    assert await drops(ada) == []
    await thing.cost(800)
    for amount in (850, 900, 800, 840):
        await thing.cost(amount)
    await look_at_prices()
    assert await drops(ada) == await drops(ben) == [(900, 800)]
    assert await drops(eve) == []
    await thing.cost(700)
    assert await drops(ada) == [(900, 800), (840, 700)]
    (row, *_) = await messages_of(ada)
    assert (row["content"]["product_name"], row["content"]["product_id"]) == ("A thing", str(thing.id))
    await check_books()


async def test_what_cost_less_weeks_ago_has_dropped_again(shop: Shop) -> None:
    ada = await add_person("ada")
    thing = await make_thing()
    await keep(thing, ada)
    await thing.cost(800)
    await thing.cost(1000)
    await days_go_by(20)
    await thing.cost(850)
    assert await drops(ada) == [(1000, 800)]
    await thing.cost(1000)
    await days_go_by(11)
    await thing.cost(840)
    assert await drops(ada) == [(1000, 800), (1000, 840)]


async def test_each_is_told_the_price_in_their_currency(shop: Shop) -> None:
    ada, ben, eve = [await add_person() for _ in range(3)]
    for person, currency in ((ada, "EUR"), (ben, "USD"), (eve, None)):
        await live_in(person, "UTC", currency)
    thing = await make_thing()
    await keep(thing, ada, ben, eve)
    await thing.cost(900, "EUR")
    assert (await drops(ada), await drops(ben), await drops(eve)) == ([(1000, 900)], [], [(1000, 900)])
    await check_books()


async def test_who_does_not_keep_it_in_mind_any_more_is_not_told(shop: Shop) -> None:
    ada, ben = await add_person("ada"), await add_person("ben")
    thing = await make_thing()
    await keep(thing, ada, ben)
    async with db.transaction() as tx:
        await consumers.follow_favorites(tx, news(FavoriteRemoved(ada, thing.id), FavoriteAdded(ben, thing.id)))
        await consumers.follow_favorites(tx, news(FavoriteAdded(ada, thing.id), FavoriteRemoved(ada, thing.id)))
    await thing.cost(500)
    assert (await drops(ada), await drops(ben)) == ([], [(1000, 500)])
    async with db.transaction() as tx:
        await consumers.forget_users(tx, news(UserErased(ben)))
    await thing.cost(400)
    assert await db.value("SELECT count(*) FROM notifications.watched_product") == 0
    assert await db.value("SELECT count(*) FROM notifications.lowest_price") == 0
    async with db.transaction() as tx:
        await consumers.follow_favorites(tx, news(FavoriteAdded(ben, thing.id)))
    assert await db.value("SELECT count(*) FROM notifications.favorite") == 0


async def test_a_change_that_comes_while_we_look_is_looked_at(shop: Shop) -> None:
    """We have read what it costs, and before we write that down it costs something else."""
    ada = await add_person("ada")
    thing = await make_thing()
    await keep(thing, ada)
    await thing.cost(900, look=False)
    with as_system():
        outside = copy_context()
    async with db.transaction() as tx:
        await tx.run(prices.LOCK_WATCHED, [thing.id])
        looking = asyncio.create_task(prices.compare_prices(), context=outside)
        await until(is_waiting)
        await catalog_db.pool.execute(SET_PRICE, thing.id, "USD", 800)
        await consumers.note_prices(tx, news(PriceChanged(thing.id, "THING", (Money(800, "USD"),))))
    await looking
    await look_at_prices()
    assert (await drops(ada))[-1][1] == 800


async def is_waiting() -> bool:
    """Whether somebody waits for a lock of ours."""
    return bool(await db.pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))


async def test_who_hears_of_new_prices_waits_holding_nothing_that_others_wait_for(shop: Shop) -> None:
    """The rows do not lie in the order of their keys: the second one was watched first."""
    first, second = sorted((new_id(), new_id()))
    async with db.transaction() as tx:
        for watched in ([second], [first]):
            await tx.run(prices.WATCH, watched)

    async def hear() -> None:
        async with db.transaction() as tx:
            await prices.note_changes(tx, {first, second})

    outside = copy_context()
    async with db.transaction() as tx:
        await tx.run(prices.LOCK_WATCHED, [first])
        hearing = asyncio.create_task(hear(), context=outside)
        await until(is_waiting)
        await tx.run(prices.LOCK_WATCHED, [second])
    await hearing
    assert await db.value("SELECT sum(changes) FROM notifications.watched_product") == 4


async def test_changes_of_any_number_at_once_end_at_the_last_price(shop: Shop) -> None:
    ada = await add_person("ada")
    thing = await make_thing()
    await keep(thing, ada)
    for number in range(rounds(3, 100)):
        amount = 900 - number * 2
        await thing.cost(amount, look=False)
        with as_system():
            await asyncio.gather(prices.compare_prices(), thing.cost(amount - 1, look=False), prices.compare_prices())
        await look_at_prices()
        assert await db.value("SELECT min(amount) FROM notifications.lowest_price WHERE currency = 'USD' AND until IS NULL") == amount - 1
    told = [now for _, now in await drops(ada)]
    assert told == sorted(set(told), reverse=True)


async def test_many_who_keep_it_in_mind_are_told_some_at_a_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "AT_ONCE", 10)
    thing = await make_thing()
    people = [new_id() for _ in range(25)]
    await keep(thing, *people)
    await thing.cost(700, look=False)
    await look_at_prices()
    counted = await db.pool.fetch("SELECT recipient_id, count(*) FROM notifications.notice GROUP BY 1")
    assert {row["recipient_id"]: row["count"] for row in counted} == dict.fromkeys(people, 1)
    assert await db.value("SELECT count(*) FROM notifications.price_drop") == 0
