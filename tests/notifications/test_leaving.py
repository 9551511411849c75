"""Who leaves is told nothing more and leaves no words behind; who has ordered is not reminded; an export has all that is kept."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.notifications.tidings import (
    FIND_NEW,
    add_person,
    check_books,
    choose,
    hear,
    kinds_of,
    messages_of,
    notices,
    plan,
    waits_for_a_lock,
)
from tests.orders.market import as_buyer, as_system, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.torture import rounds
from tests.users.people import as_user
from tests.waiting import until

from souk import orders, users
from souk.app import Shop
from souk.carts.events import CartAbandoned
from souk.carts.types import CartLine
from souk.kit import personal
from souk.kit.events import Delivered, Event
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.notifications import consumers, people, planning
from souk.notifications.announcing import NewAnnouncement, send_announcement
from souk.notifications.database import db
from souk.notifications.types import Notice
from souk.orders.events import OrderPlaced
from souk.payments.events import WalletCredited
from souk.users.events import SellerApplied, SessionsRevoked, UserErased

TRACES = "SELECT count(*) FROM notifications.message WHERE user_id = $1 AND (content <> '{}' OR status = 'waiting')"


def news(*events: Event) -> tuple[Delivered[Event], ...]:
    return tuple(Delivered(one, new_id(), datetime.now(UTC)) for one in events)


async def erase(user_id: UUID) -> None:
    with as_system():
        await users.erase_user(user_id)
    async with db.transaction() as tx:
        await consumers.forget_users(tx, news(UserErased(user_id)))


async def test_what_was_on_its_way_to_who_left_is_not_sent(shop: Shop) -> None:
    ada, ben = await add_person("ada"), await add_person("ben")
    await hear(WalletCredited(ada, Money(5, "USD")), WalletCredited(ben, Money(5, "USD")))
    await plan()
    await hear(SessionsRevoked(ada))
    await erase(ada)
    await plan()
    rows = await messages_of(ada)
    assert [(row["status"], row["reason"], row["content"]) for row in rows] == [("suppressed", "erased", {})]
    assert (await notices())["sessions_revoked"] == ("dropped", "erased")
    assert [status for _, _, status in await kinds_of(ben)] == ["waiting"]
    await check_books()


async def test_who_leaves_while_they_are_told_is_told_nothing_afterwards(shop: Shop) -> None:
    for _ in range(rounds(8, 200)):
        ada = await add_person()
        await hear(*(WalletCredited(ada, Money(number + 1, "USD")) for number in range(5)))
        await asyncio.gather(plan(), erase(ada))
        await plan()
        assert await db.value(TRACES, ada) == 0
    await check_books()


async def test_who_leaves_while_they_are_planned_for_stands_in_nobodys_way(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    ada = await add_person()
    await hear(WalletCredited(ada, Money(5, "USD")))
    async with db.pool.acquire() as leaving, leaving.transaction():
        await leaving.execute(people.LOCK_PEOPLE, [ada])
        planning_it = asyncio.create_task(plan())
        await until(waits_for_a_lock)
        # A planner that had locked her notices first would wait for us, and we for it.
        await leaving.execute(people.REMEMBER, [ada])
        await leaving.execute(people.DROP_NOTICES, [ada])
    await planning_it
    assert "planning_failed" not in caplog.text
    assert await notices() == {"wallet_credited": ("dropped", "erased")}
    assert await db.value(TRACES, ada) == 0
    await check_books()


async def test_who_was_asked_about_before_they_left_is_told_nothing(shop: Shop) -> None:
    boss = await add_person("boss", roles=("buyer", "admin"))
    await hear(SellerApplied(new_id(), new_id()))
    page = await db.all(Notice, FIND_NEW)
    with as_system():
        known = await planning.ask_neighbours(page)
    await erase(boss)
    assert await planning.plan(known, page) == 1
    assert {(row["status"], row["reason"]) for row in await messages_of(boss)} == {("suppressed", "erased")}


async def test_what_a_seller_wrote_about_an_order_goes_with_its_buyer(shop: Shop) -> None:
    await open_market()
    seller_id = await make_seller()
    await put_on_sale("MUG", 1200, 10, seller_id)
    orders_of: dict[UUID, UUID] = {}
    for person in (ada := await add_person("ada"), ben := await add_person("ben")):
        cart_id = await fill_cart(person, ("MUG", 1))
        with as_buyer(person):
            orders_of[person] = (await orders.place_order(buy(cart_id))).id

    async def write(text: str) -> None:
        for order_id in orders_of.values():
            with asked_by("seller", sells_for=(seller_id,)):
                await send_announcement(NewAnnouncement(subject="Dear you", text=text, order_id=order_id))

    await write("planned")
    await plan()
    await write("not planned")
    await erase(ada)
    await plan()
    rows = await db.pool.fetch("SELECT recipient_id, status, reason, content FROM notifications.notice ORDER BY id")
    kept = {person: [row for row in rows if row["recipient_id"] == order_id] for person, order_id in orders_of.items()}
    assert [(row["status"], row["reason"], row["content"]) for row in kept[ada]] == [("planned", None, {}), ("dropped", "nobody", {})]
    assert [row["content"]["words"]["en"]["text"] for row in kept[ben]] == ["planned", "not planned"]
    assert await db.value(TRACES, ada) == 0
    await check_books()


async def test_who_has_left_before_it_is_planned_leaves_nothing(shop: Shop) -> None:
    ada = await add_person("ada")
    await hear(WalletCredited(ada, Money(5, "USD")))
    async with db.transaction() as tx:
        # We have heard it between asking how she is reached and writing what she is told.
        await tx.run("INSERT INTO notifications.departure (user_id) VALUES ($1)", ada)
    await plan()
    assert await db.value("SELECT jsonb_agg(content) FROM notifications.notice") == [{}]
    assert [(row["status"], row["reason"], row["content"]) for row in await messages_of(ada)] == [("suppressed", "erased", {})]
    await check_books()


async def test_an_export_has_all_that_is_kept(shop: Shop) -> None:
    ada, ben = await add_person("ada"), await add_person("ben")
    await hear(WalletCredited(ada, Money(5, "USD")), WalletCredited(ben, Money(6, "USD")))
    await plan()
    with as_user(ada):
        kept = (await personal.export_user_data(ada))["notifications"]
    assert [(row["kind"], row["content"]["amount"]["amount"]) for row in kept["messages"]] == [("wallet_credited", 5)]  # type: ignore[index, union-attr]
    assert kept["watched_products"] == []


async def test_who_has_ordered_is_not_reminded(shop: Shop) -> None:
    await put_on_sale("MUG", 1200, 10, await make_seller())
    ada, ben = await add_person("ada"), await add_person("ben")
    carts = {person: new_id() for person in (ada, ben)}
    await choose(ben, notifications={"cart_reminders": {"email": False}})
    await hear(*(CartAbandoned(cart_id, person, (CartLine("MUG", 2), CartLine("GONE", 1))) for person, cart_id in carts.items()))
    await plan()
    (mail,) = await messages_of(ada)
    assert (mail["kind"], mail["channel"], mail["status"]) == ("cart_abandoned", "email", "waiting")
    assert mail["content"]["items"] == [{"name": "A mug", "quantity": 2}]
    assert [row["reason"] for row in await messages_of(ben)] == ["opted_out"]
    later = CartAbandoned(new_id(), ada, (CartLine("MUG", 1),))
    await hear(later)
    async with db.transaction() as tx:
        placed = [OrderPlaced(new_id(), 1, ada, cart_id, Money(1, "USD"), (), datetime.now(UTC)) for cart_id in (carts[ada], later.cart_id)]
        await consumers.stop_reminders(tx, news(*placed))
    await plan()
    assert [(row["status"], row["reason"]) for row in await messages_of(ada)] == [("suppressed", "ordered")]
    assert (await notices())["cart_abandoned"] == ("dropped", "ordered")
    await check_books()


async def test_advertisements_go_to_nobody_who_has_not_shown_their_address(shop: Shop) -> None:
    await put_on_sale("MUG", 1200, 10, await make_seller())
    ada = await add_person("ada", verified=False)
    await hear(CartAbandoned(new_id(), ada, (CartLine("MUG", 2),)), SessionsRevoked(ada))
    await plan()
    assert await kinds_of(ada) == [
        ("cart_abandoned", "email", "suppressed"), ("sessions_revoked", "email", "waiting"), ("sessions_revoked", "in_app", "waiting"),
    ]  # fmt: skip
