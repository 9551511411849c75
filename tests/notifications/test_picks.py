"""Recommendations by mail: once a week, of what somebody likes and can have, whatever breaks off on the way."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from tests.conftest import asked_by
from tests.notifications.conftest import Post
from tests.notifications.feeds import as_system, make_people
from tests.notifications.test_campaigns import breaking_off, check_books, finish_messages, go_on, look, step
from tests.notifications.test_planning import Silent
from tests.orders.market import as_buyer, buy, fill_cart, make_seller, open_market
from tests.torture import rounds

from souk import catalog, inventory, notifications, orders, users
from souk.catalog import stock
from souk.catalog.database import db as catalog_db
from souk.inventory.events import StockChanged, StockLevel
from souk.kit.callers import Caller
from souk.kit.calls import Exposed, topology
from souk.kit.errors import NotFound, Unavailable
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.queue import JOBS
from souk.kit.schedules import SCHEDULES, Tick, fire_due, register_schedules
from souk.notifications import pages, picks, recommending, sending
from souk.notifications.database import db
from souk.notifications.picks import choose_picks
from souk.notifications.settings import Settings, settings

pytestmark = pytest.mark.usefixtures("shop")

THURSDAY = datetime(2030, 5, 2, 9, tzinfo=UTC)
WEEK = timedelta(weeks=1)
SELLER = new_id()


async def put_up(name: str, brand: str | None = None, category_id: UUID | None = None, cents: int = 1900, pieces: int = 5) -> UUID:
    """A product on sale; its SKU is its name."""
    prices = (catalog.Price(cents, "USD"),)
    with as_system():
        new = catalog.NewProduct(
            name=name,
            brand=brand,
            category_id=category_id,
            seller_id=SELLER,
            status="published",
            variants=(catalog.NewVariant(name, prices),),
        )
        (made,) = await catalog.create_products((new,))
    async with catalog_db.transaction() as tx:
        await stock.keep_levels(tx, [StockChanged(new_id(), SELLER, (StockLevel(name, pieces, 1),))])
    return made.id


class Counting:
    """A process that hosts catalog, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, function: Exposed, arguments: Any, who: Caller) -> Any:
        self.asked.append(function.path)
        return await function.run_here(arguments, who)


@contextmanager
def instead_of_catalog(neighbour: Any) -> Iterator[None]:
    """Inside, catalog is this other process."""
    topology.hosted.remove("catalog")
    topology.peers["catalog"] = neighbour
    yield
    topology.hosted.add("catalog")
    del topology.peers["catalog"]


async def make_fans(count: int = 1, **likings: object) -> tuple[UUID, ...]:
    """So many people who like something."""
    people = await make_people(count)
    for one in people:
        with asked_by("buyer", user_id=one):
            await users.set_preferences(one, users.SetPreferences(**likings))  # type: ignore[arg-type]
    return people


async def begin(at: datetime = THURSDAY) -> bool:
    """The clock strikes."""
    async with db.transaction() as tx:
        return await recommending.begin_recommendations(tx, at)


async def run_week(at: datetime = THURSDAY) -> None:
    await begin(at)
    await go_on()


async def runs() -> list[notifications.Campaign]:
    with asked_by("admin"):
        return list((await notifications.list_campaigns(None, 10, None)).items)


async def told() -> dict[UUID, list[tuple[str, str | None, list[str]]]]:
    """By person: status, reason and goods of each message."""
    found: dict[UUID, list[tuple[str, str | None, list[str]]]] = {}
    for row in await db.pool.fetch("SELECT * FROM notifications.message WHERE kind = 'recommendations' ORDER BY id"):
        goods = [item["name"] for item in row["content"].get("items", ())]
        found.setdefault(row["user_id"], []).append((row["status"], row["reason"], goods))
    return found


async def test_somebody_is_told_of_what_they_like_and_can_have_in_their_own_money(post: Post) -> None:
    post.use(public_url="https://shop.example")
    with as_system():
        kitchen = (await catalog.ensure_category(("Kitchen",))).id
        mugs = (await catalog.ensure_category(("Kitchen", "Mugs"))).id
    await put_up("Pot", category_id=kitchen)
    mug = await put_up("Mug", brand="Kumo", category_id=mugs, cents=1250)
    await put_up("Sold out", category_id=kitchen, pieces=0)
    await put_up("Lamp", brand="Other")
    (ada,) = await make_fans(categories=("kitchen",), brands=("KUMO",), currency="USD")
    await make_people(2)  # who like nothing in particular
    await run_week()
    assert await told() == {ada: [("waiting", None, ["Mug", "Pot"])]}
    with as_system():
        await sending.send_due("email")
    (letter,) = await post.letters()
    read = await post.read(letter["seq"])
    text = read.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert read["subject"] == "Picked for you: Mug"
    assert f"Mug, $12.50: https://shop.example/shop/products/{mug}" in text
    assert "List-Unsubscribe" in read
    await go_on()
    (run,) = await runs()
    assert (run.kind, run.status, run.recipients) == ("recommendations", "sent", 1)
    await check_books()


async def test_once_a_week_however_often_the_clock_strikes() -> None:
    await put_up("Mug", brand="Kumo")
    (ada,) = await make_fans(brands=("Kumo",))
    struck = await asyncio.gather(*(begin(THURSDAY + timedelta(hours=hours)) for hours in range(8)))
    assert sorted(struck) == [False] * 7 + [True]
    await go_on()
    await run_week(THURSDAY + timedelta(days=3))
    assert len((await told())[ada]) == 1
    await finish_messages((await runs())[0])
    await put_up("Cup", brand="Kumo")
    await run_week(THURSDAY + WEEK)
    # Nothing is recommended twice of late.
    assert [goods for _, _, goods in (await told())[ada]] == [["Mug"], ["Cup"]]
    await check_books()


async def test_what_is_held_over_the_week_is_not_sent_beside_the_next() -> None:
    await put_up("Mug", brand="Kumo")
    (ada,) = await make_fans(brands=("Kumo",))
    await run_week()
    with asked_by("admin"):
        await notifications.hold_campaign((await runs())[0].id)
    await go_on()
    await run_week(THURSDAY + WEEK)
    assert (await told())[ada] == [("suppressed", "campaign_cancelled", ["Mug"]), ("waiting", None, ["Mug"])]
    assert [run.status for run in await runs()] == ["sending", "cancelled"]
    await check_books()


async def test_two_clocks_begin_one_week() -> None:
    schedules = {name: one for name, one in SCHEDULES.items() if name == "notifications.begin_recommendations"}
    zone = ZoneInfo("Europe/Berlin")
    await register_schedules(db, schedules, zone)
    await db.pool.execute("UPDATE jobs.schedule SET last_tick = $1", THURSDAY - timedelta(hours=20))
    await asyncio.gather(*(fire_due(db, schedules, zone, THURSDAY) for _ in range(4)))
    rows = await db.pool.fetch("SELECT payload FROM jobs.pgqueuer WHERE entrypoint = 'notifications.begin_recommendations'")
    assert len(rows) == 1
    (tick,) = JOBS["notifications.begin_recommendations"].arguments(rows[0]["payload"])
    assert tick == Tick(datetime(2030, 5, 2, 9, tzinfo=zone))


async def test_a_shop_decides_when_and_whether() -> None:
    settings.replace(recommendations=False)
    assert not await begin()
    settings.replace(recommendations=True, recommendations_at="30 18 * * 5")
    assert SCHEDULES["notifications.begin_recommendations"].expression == "30 18 * * 5"
    with pytest.raises(ValueError, match="cron"):
        Settings(recommendations_at="Thursdays")


async def test_who_said_no_and_whom_there_is_nothing_for_have_no_letter() -> None:
    await put_up("Mug", brand="Kumo")
    no, nothing, yes = [await make_fans(1, brands=(brand,)) for brand in ("Kumo", "Nobody", "Kumo")]
    with asked_by("buyer", user_id=no[0]):
        await users.change_notifications(no[0], users.ChangeNotifications(notifications={"recommendations": {"email": False}}))
    (foreign,) = await make_fans(1, brands=("Kumo",), currency="JPY")
    await run_week()
    assert await told() == {
        no[0]: [("suppressed", "opted_out", ["Mug"])],
        nothing[0]: [("suppressed", "nothing_to_say", [])],
        foreign: [("suppressed", "nothing_to_say", [])],
        yes[0]: [("waiting", None, ["Mug"])],
    }
    await check_books()


async def test_nothing_is_recommended_to_who_has_just_bought_it() -> None:
    await open_market()
    seller_id = await make_seller()
    ada, bob = await make_fans(2, brands=("Kumo",))
    with as_system():
        for name in ("MUG", "CUP"):
            await catalog.create_products((catalog.NewProduct(
                name=name, brand="Kumo", seller_id=seller_id, status="published",
                variants=(catalog.NewVariant(name, (catalog.Price(900, "USD"),)),),
            ),))  # fmt: skip
        store = await inventory.create_store(inventory.NewStore("A store", "DE", seller_id=seller_id))
        await inventory.set_stock_levels(tuple(inventory.StockCount(store.id, name, 9) for name in ("MUG", "CUP")))
    async with catalog_db.transaction() as tx:
        await stock.keep_levels(tx, [StockChanged(store.id, seller_id, (StockLevel("MUG", 9, 1), StockLevel("CUP", 9, 1)))])
    cart_id = await fill_cart(ada, ("MUG", 1))
    with as_buyer(ada):
        assert (await orders.place_order(buy(cart_id))).status == "placed"
    await run_week()
    assert await told() == {ada: [("waiting", None, ["CUP"])], bob: [("waiting", None, ["CUP", "MUG"])]}


@pytest.mark.parametrize("where", ["AFTER INSERT ON notifications.message", "AFTER UPDATE ON notifications.campaign"])
async def test_a_week_that_breaks_off_anywhere_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(pages, "PAGE", 5)
    await put_up("Mug", brand="Kumo")
    people = await make_fans(rounds(60, 600), brands=("Kumo",))
    await begin()
    breaks = 0
    async with breaking_off(where, 0.2 if "message" in where else 0.6):
        for _ in range(1_000):
            try:
                if not await step():
                    break
            except asyncpg.RaiseError:
                breaks += 1
    await asyncio.gather(*(step() for _ in range(4)))
    await go_on()
    assert breaks
    assert await told() == {one: [("waiting", None, ["Mug"])] for one in people}
    await check_books()


async def test_catalog_is_asked_for_a_page_of_people_at_once() -> None:
    await put_up("Mug", brand="Kumo")
    people = await make_fans(30, brands=("Kumo", "kumo", "Nobody"), categories=("Kitchen",))
    neighbour = Counting()
    with instead_of_catalog(neighbour), as_system():
        assert len(await picks.find_picks(people)) == 30
    assert neighbour.asked == ["catalog/list_shelves"]


async def test_a_silent_catalog_holds_up_no_other_campaign() -> None:
    await make_fans(1, brands=("Kumo",))
    await begin(datetime.now(UTC) - WEEK)
    with asked_by("admin"):
        words = {"en": notifications.Words("Spring sale", "Until Sunday.")}
        other = await notifications.create_campaign(notifications.NewCampaign(name="Spring", words=words))
        await notifications.set_campaign_schedule(other.id, notifications.Schedule())

    with instead_of_catalog(Silent()), pytest.raises(Unavailable):
        await step()
    assert (await look(other)).campaign.recipients == 1
    assert await told() == {}
    await go_on()
    assert len(await told()) == 1


async def test_a_week_has_no_words_to_look_at() -> None:
    await begin()
    (run,) = await runs()
    with asked_by("admin"):
        for ask in (notifications.describe_campaign(run.id, "en"), notifications.send_campaign_test(run.id, "en")):
            with pytest.raises(NotFound):
                await ask


def test_those_first_that_are_liked_for_most_reasons_then_the_best_rated_then_the_newest() -> None:
    def product(name: str, rating: float | None = None, currency: str = "USD") -> catalog.ShelfProduct:
        return catalog.ShelfProduct(new_id(), name, rating, (Money(900, currency),))

    old, both, good, new = product("old"), product("both"), product("good", 4.5), product("new")
    dear = product("in euros", 5.0, "EUR")
    shelves = {("category", "kitchen"): (new, dear, good, both, old), ("brand", "kumo"): (both,)}
    now = datetime.now(UTC)
    likings = users.Preferences(
        user_id=new_id(), categories=("Kitchen",), brands=("Kumo",), language="en", currency="USD", timezone="UTC", notifications={},
        created_at=now, updated_at=now,
    )  # fmt: skip
    assert [one["name"] for one in choose_picks(likings, shelves, (), 9)] == ["both", "good", "new", "old"]
    assert [one["name"] for one in choose_picks(likings, shelves, {both.id}, 2)] == ["good", "new"]
