"""Facts become messages: one of each for everybody concerned on each channel, whoever tells and plans and how often."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.conftest import asked_by
from tests.notifications.tidings import (
    FIND_NEW,
    add_person,
    check_books,
    choose,
    hear,
    hear_again,
    kinds_of,
    live_in,
    messages_of,
    notices,
    plan,
    told,
    waits_for_a_lock,
)
from tests.orders.market import as_buyer, as_guest, as_system, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.torture import rounds
from tests.waiting import until

from souk import carts, orders, payments, users
from souk.app import Shop
from souk.carts.events import CartAbandoned
from souk.carts.types import CartLine
from souk.inventory.events import BackInStock, StockLow
from souk.kit.calls import topology
from souk.kit.errors import Unavailable
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.notifications import people, planning
from souk.notifications.bells import new_notices
from souk.notifications.database import db
from souk.notifications.deciding import decide_again
from souk.notifications.limits import limits
from souk.notifications.types import Message, Notice
from souk.orders.events import (
    CanceledLine,
    ItemsCancelled,
    OrderCancelled,
    OrderedLine,
    OrderPlaced,
    OrderRejected,
    ReturnApproved,
    ReturnRequested,
)
from souk.orders.types import LinePieces, TotalChanged
from souk.payments.events import PaymentRefunded, PayoutSent, WalletCredited
from souk.reviews.events import ReviewPosted, ReviewReplied
from souk.shipping.events import ShipmentDispatched, ShippedLine
from souk.users.events import PasswordResetRequested, SellerApplied, SellerSuspended, SessionsRevoked, UserRegistered

FIND_DUE = """
    SELECT id, letter_id, notice_id, user_id, order_id, seller_id, channel, kind, topic, mandatory, content, due_at, give_up_at, attempts
    FROM notifications.message WHERE status = 'waiting' ORDER BY id
"""


class Purchase:
    """An order of mugs of one seller and bowls of another, by somebody or by a guest; nobody has told of it yet."""

    def __init__(self, order: orders.Order, mugs: UUID, bowls: UUID) -> None:
        self.order = order
        self.mugs = mugs
        self.bowls = bowls

    def placed(self) -> OrderPlaced:
        lines = tuple(OrderedLine(one.sku, one.product_id, one.seller_id, one.quantity, one.total) for one in self.order.items)
        return OrderPlaced(self.order.id, self.order.number, self.order.user_id, None, self.order.total, lines, datetime.now(UTC))

    def item(self, sku: str) -> orders.OrderItem:
        return next(one for one in self.order.items if one.sku == sku)

    def pieces(self, sku: str, count: int) -> tuple[LinePieces, ...]:
        return (LinePieces(self.item(sku).id, count),)


async def make_purchase(buyer_id: UUID | None) -> Purchase:
    await open_market()
    mugs, bowls = await make_seller("Mugs"), await make_seller("Bowls")
    await put_on_sale("MUG", 1200, 1000, mugs)
    await put_on_sale("BOWL", 800, 1000, bowls)
    if buyer_id is not None:
        cart_id = await fill_cart(buyer_id, ("MUG", 3), ("BOWL", 2))
        with as_buyer(buyer_id):
            return Purchase(await orders.place_order(buy(cart_id)), mugs, bowls)
    with as_guest():
        cart = await carts.create_cart(carts.NewCart((carts.NewItem("MUG", 3), carts.NewItem("BOWL", 2))))
    with as_guest(str(cart.token)):
        return Purchase(await orders.place_order(buy(cart.id, email="guest@example.com")), mugs, bowls)


async def owner_of(seller_id: UUID) -> UUID:
    with as_system():
        return next(member.user_id for member in await users.get_teams((seller_id,)))


async def test_buyer_and_sellers_are_told_each_of_their_own(shop: Shop) -> None:
    ada = await add_person("ada")
    bought = await make_purchase(ada)
    await hear(bought.placed())
    assert await plan() == 3
    assert await kinds_of(ada) == [("order_placed", "email", "waiting"), ("order_placed", "in_app", "waiting")]
    mine = (await messages_of(ada))[0]
    assert mine["content"]["number"] == str(bought.order.number)
    assert mine["content"]["total"] == msgspec.to_builtins(bought.order.total)
    assert sorted((item["name"], item["quantity"]) for item in mine["content"]["items"]) == [("A bowl", 2), ("A mug", 3)]
    for seller_id, item in ((bought.mugs, ("A mug", 3)), (bought.bowls, ("A bowl", 2))):
        owner = await owner_of(seller_id)
        assert [kind for kind, _, _ in await kinds_of(owner)] == ["seller_order_placed"] * 2
        theirs = (await messages_of(owner))[0]
        assert [(one["name"], one["quantity"]) for one in theirs["content"]["items"]] == [item]
        part = next(part for part in bought.order.parts if part.seller_id == seller_id)
        assert theirs["content"]["total"] == msgspec.to_builtins(part.total)
        assert theirs["seller_id"] == seller_id
    assert "example.com" not in str([row["content"] for row in await messages_of()])
    await check_books()


async def test_a_guest_is_told_by_mail_and_known_by_the_order(shop: Shop) -> None:
    bought = await make_purchase(None)
    await hear(bought.placed())
    await plan()
    (mail,) = [row for row in await messages_of() if row["kind"] == "order_placed"]
    assert (mail["user_id"], mail["order_id"], mail["channel"], mail["status"]) == (None, bought.order.id, "email", "waiting")
    await check_books()


async def test_what_happens_to_an_order_afterwards(shop: Shop) -> None:
    ada = await add_person("ada")
    bought = await make_purchase(ada)
    order_id, mugs = bought.order.id, bought.mugs
    line = bought.item("MUG")
    usd = Money(500, "USD")
    sent = ShippedLine(line.id, "MUG", 2)
    canceled = ItemsCancelled(order_id, new_id(), ada, "buyer", (CanceledLine(line.id, mugs, "MUG", 1),), ())
    await hear(
        ShipmentDispatched(new_id(), order_id, mugs, (sent,), datetime.now(UTC), ada),
        PaymentRefunded(order_id, order_id, new_id(), usd),
        PaymentRefunded(order_id, order_id, new_id(), Money(0, "USD")),
        canceled,
        ReturnRequested(order_id, new_id(), mugs, ada, bought.pieces("MUG", 1)),
        ReturnApproved(order_id, new_id(), mugs, ada),
    )
    await plan()
    said = {row["kind"]: row["content"] for row in await messages_of(ada) if row["channel"] == "email"}
    assert set(said) == {"order_shipped", "order_refunded", "items_cancelled", "return_approved"}
    assert said["order_shipped"]["items"] == [{"name": "A mug", "quantity": 2}]
    assert said["order_refunded"]["amount"] == {"amount": 500, "currency": "USD"}
    assert said["items_cancelled"]["items"] == [{"name": "A mug", "quantity": 1}]
    theirs = {kind for kind, _, _ in await kinds_of(await owner_of(mugs))}
    assert theirs == {"seller_items_cancelled", "seller_return_requested"}
    assert await kinds_of(await owner_of(bought.bowls)) == []
    await check_books()


async def test_each_fact_told_up_to_ten_times_is_one_message_on_each_channel(shop: Shop) -> None:
    people = [await add_person() for _ in range(rounds(5, 50))]
    bought = await make_purchase(people[0])
    facts = [
        fact
        for person in people
        for fact in (UserRegistered(person), SessionsRevoked(person), WalletCredited(person, Money(100, "USD")))
    ]
    for seed in range(rounds(4, 40)):
        heard = await hear(*facts, bought.placed(), PaymentRefunded(bought.order.id, bought.order.id, new_id(), Money(1, "USD")))
        await asyncio.gather(hear_again(heard, seed), plan(), plan())
    await plan()
    counted = Counter((row["notice_id"], row["user_id"], row["channel"]) for row in await messages_of())
    assert set(counted.values()) == {1}
    per_kind = Counter(row["kind"] for row in await messages_of())
    told_of = rounds(4, 40)
    assert per_kind["welcome"] == per_kind["sessions_revoked"] == 2 * len(people) * told_of
    assert per_kind["wallet_credited"] == len(people) * told_of
    assert per_kind["order_placed"] == per_kind["order_refunded"] == 2 * told_of
    await check_books()


async def test_only_what_has_committed_is_told_and_a_refund_confirms_nothing_again(working_shop: Shop) -> None:
    """Through the real outboxes: of an order that does not come about nobody hears that it did."""
    ada = await add_person("ada")
    bought = await make_purchase(ada)
    cart_id = await fill_cart(ada, ("MUG", 1))
    with as_buyer(ada), pytest.raises(TotalChanged):
        await orders.place_order(buy(cart_id, expected_total=Money(1, "USD")))
    with as_buyer(ada):
        assert (await orders.place_order(buy(cart_id, "tok_declined"))).status == "draft"
    await until(lambda: are_planned(ada, "order_placed"))
    with as_system():
        await payments.refund(payments.RefundPayment(new_id(), bought.order.id, Money(500, "USD"), "a scratch"))
    await until(lambda: are_planned(ada, "order_refunded"))
    kinds = Counter(row["kind"] for row in await messages_of(ada))
    assert (kinds["order_placed"], kinds["order_refunded"]) == (2, 2)
    await check_books(settled=False)


async def are_planned(user_id: UUID, kind: str) -> bool:
    return kind in {row["kind"] for row in await messages_of(user_id)}


async def test_a_notice_is_planned_as_soon_as_it_is_there(working_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by the clock: it is the bell that is heard."""
    monkeypatch.setattr("souk.kit.background.LOOK_AGAIN_S", 3600.0)
    ada = await add_person("ada")
    await until(is_waited_for)
    await hear(SessionsRevoked(ada))
    await until(lambda: are_planned(ada, "sessions_revoked"))


async def is_waited_for() -> bool:
    return bool(new_notices._waiting)


async def test_two_planners_at_once_plan_everything_once(shop: Shop) -> None:
    people = [await add_person() for _ in range(20)]
    for person in people[::2]:
        await choose(person, digests={"reviews": "hourly"})
    for _ in range(rounds(3, 50)):
        await hear(*(ReviewReplied(new_id(), new_id(), new_id(), person) for person in people for _ in range(4)))
        await name_everything()
        page = await db.all(Notice, FIND_NEW)
        with as_system():
            known = await planning.ask_neighbours(page)
            halves = (page, tuple(reversed(page)), page[len(page) // 2 :], page[: len(page) // 2])
            assert sum(await asyncio.gather(*(planning.plan(known, half) for half in halves))) == len(page)
    rows = await messages_of()
    assert set(Counter((row["notice_id"], row["channel"]) for row in rows).values()) == {1}
    letters = {(row["user_id"], row["letter_id"]) for row in rows if row["channel"] == "email" and row["window_ends_at"]}
    windows = {(row["user_id"], row["window_ends_at"]) for row in rows if row["channel"] == "email" and row["window_ends_at"]}
    assert len(letters) == len(windows)
    await check_books()


async def name_everything() -> None:
    """The products that were reviewed need not exist for this: they are called something."""
    await db.pool.execute("UPDATE notifications.notice SET content = content - 'product_id' WHERE status = 'new'")


async def test_64_planners_never_disturb_somebody_more_than_they_may(shop: Shop) -> None:
    limits.replace(service_per_hour=5, promotions_per_day=2)
    ada, ben = await add_person("ada"), await add_person("ben")
    await hear(*(WalletCredited(one, Money(1, "USD")) for one in (ada, ben)))
    await hear(*(CartAbandoned(new_id(), one, (CartLine("MUG", 1),)) for one in (ada, ben) for _ in range(32)))
    await hear(*(UserRegistered(one) for one in (ada, ben) for _ in range(32)))
    await db.pool.execute("UPDATE notifications.notice SET content = '{}'")
    page = await db.all(Notice, FIND_NEW)
    with as_system():
        known = await planning.ask_neighbours(page)
        planners = [page[number::64] for number in range(64)]
        assert sum(await asyncio.gather(*(planning.plan(known, some) for some in planners))) == len(page)
    mails = [row for row in await messages_of() if row["channel"] == "email"]
    for person in (ada, ben):
        ads = [row for row in mails if row["user_id"] == person and row["kind"] == "cart_abandoned"]
        assert Counter((row["status"], row["reason"]) for row in ads) == {("waiting", None): 2, ("suppressed", "too_many"): 30}
        news = [row for row in mails if row["user_id"] == person and row["kind"] == "welcome"]
        assert Counter((row["status"], row["reason"]) for row in news) == {("waiting", None): 5, ("waiting", "too_many"): 27}
        due = sorted(row["due_at"] for row in news if row["id"] == row["letter_id"])
        for start in due:
            assert sum(start <= one < start + timedelta(hours=1) for one in due) <= 5
        assert len({row["letter_id"] for row in news if row["reason"]}) == 1
    await check_books()


async def test_nothing_is_decided_against_a_no_that_was_answered(shop: Shop) -> None:
    """Somebody says no while they are told of many things: what is decided after the answer, first or last, heeds it."""
    for number in range(rounds(5, 200)):
        ada = await add_person()
        heard = [told(WalletCredited(ada, Money(1, "USD"))) for _ in range(10)]
        await hear(*heard)
        answered: list[datetime] = []

        async def refuse(user_id: UUID = ada, at: list[datetime] = answered) -> None:
            await choose(user_id, notifications={"wallet": {"in_app": False}})
            at.append(datetime.now(UTC))

        await asyncio.gather(refuse(), *(plan() for _ in range(number % 3 + 1)))
        rows = await messages_of(ada)
        late = [row for row in rows if row["status"] == "waiting" and row["decided_at"] > answered[0] + timedelta(seconds=1)]
        assert late == []
        with as_system():
            contacts = {one.user_id: one for one in await users.get_contacts((ada,))}
        looked = decide_again(contacts, await db.all(Message, FIND_DUE), datetime.now(UTC))
        assert {looked[row["id"]].reason for row in rows if row["status"] == "waiting"} <= {"opted_out"}
        await hear(WalletCredited(ada, Money(2, "USD")))
        await plan()
        assert (await messages_of(ada))[-1]["reason"] == "opted_out"
    await check_books()


async def plan_or_drop(notice: Notice) -> None:
    with as_system():
        await planning.plan_or_drop(notice)


async def test_a_notice_in_whose_way_another_was_is_not_dropped(shop: Shop) -> None:
    ada = await add_person("ada")
    await hear(WalletCredited(ada, Money(1, "USD")))
    (notice,) = await db.all(Notice, FIND_NEW)
    async with db.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM notifications.notice FOR UPDATE")
        dropping = asyncio.create_task(plan_or_drop(notice))
        await until(waits_for_a_lock)
        # Against the order in which locks are taken: it has waited for longer, and is broken off.
        await other.execute(people.LOCK_PEOPLE, [ada])
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await dropping
    assert await notices() == {"wallet_credited": ("new", None)}
    assert await plan() == 1
    await check_books()


async def test_what_is_about_something_that_is_gone_is_dropped_and_not_tried_for_ever(shop: Shop) -> None:
    ada = await add_person("ada")
    await hear(
        OrderRejected(new_id(), ada, "no stock"),
        BackInStock(new_id(), "MUG", (ada,)),
        CartAbandoned(new_id(), ada, (CartLine("GONE", 1),)),
        StockLow(new_id(), new_id(), "MUG", 1, 2),
        PasswordResetRequested(new_id()),
        SellerApplied(new_id(), ada),
    )
    assert await plan() == 6
    assert await notices() == {
        "order_rejected": ("dropped", "order_gone"),
        "back_in_stock": ("dropped", "goods_gone"),
        "cart_abandoned": ("dropped", "goods_gone"),
        "seller_stock_low": ("dropped", "nobody"),
        "reset_password": ("dropped", "nobody"),
        "seller_applied": ("dropped", "nobody"),
    }
    assert await plan() == 0
    await check_books()


async def test_one_that_cannot_be_planned_holds_up_no_other(shop: Shop) -> None:
    ada = await add_person("ada")
    await hear(SessionsRevoked(ada), BackInStock(new_id(), "MUG", (ada,)))
    await db.pool.execute("UPDATE notifications.notice SET content = '{\"lines\": [1]}' WHERE kind = 'back_in_stock'")
    await plan()
    assert (await notices())["back_in_stock"][1] is not None
    assert [kind for kind, _, _ in await kinds_of(ada)] == ["sessions_revoked"] * 2
    await check_books()


async def test_a_neighbour_that_keeps_silent_holds_up_only_what_is_about_it(shop: Shop) -> None:
    ada = await add_person("ada")
    bought = await make_purchase(ada)
    await hear(bought.placed(), SessionsRevoked(ada), BackInStock(bought.item("MUG").product_id, "MUG", (ada,)))
    hosted = set(topology.hosted)
    topology.hosted = hosted - {"orders", "catalog"}
    topology.peers = {"orders": Silent(), "catalog": Silent()}  # type: ignore[dict-item]
    with pytest.raises(Unavailable):
        await plan()
    assert {kind for kind, (status, _) in (await notices()).items() if status == "new"} == {
        "order_placed", "seller_order_placed", "back_in_stock",
    }  # fmt: skip
    topology.hosted, topology.peers = hosted, {}
    assert await plan() == 4
    assert {kind for kind, _, _ in await kinds_of(ada)} == {"order_placed", "sessions_revoked", "back_in_stock"}
    await check_books()


class Silent:
    """A process that does not answer."""

    async def ask(self, *_: object) -> object:
        raise Unavailable("no answer")


async def test_what_a_seller_did_is_not_told_to_the_seller(shop: Shop) -> None:
    ada = await add_person("ada")
    bought = await make_purchase(ada)
    owner = await owner_of(bought.mugs)
    await hear(OrderCancelled(bought.order.id, ada, "seller", (bought.mugs,)))
    await plan()
    assert await kinds_of(owner) == []
    await hear(OrderCancelled(bought.order.id, ada, "buyer", (bought.mugs,)))
    await plan()
    assert {kind for kind, _, _ in await kinds_of(owner)} == {"seller_items_cancelled"}


async def test_money_is_told_to_owners_and_orders_to_the_whole_team(shop: Shop) -> None:
    bought = await make_purchase(await add_person("ada"))
    owner, helper = await owner_of(bought.mugs), await add_person("helper")
    with as_system():
        await users.add_member(bought.mugs, users.AddMember(helper))
    await hear(bought.placed(), PayoutSent(new_id(), bought.mugs, Money(1, "USD")), SellerSuspended(bought.mugs))
    await plan()
    assert {kind for kind, _, _ in await kinds_of(helper)} == {"seller_order_placed"}
    assert {kind for kind, _, _ in await kinds_of(owner)} == {"seller_order_placed", "seller_payout_sent", "seller_suspended"}


async def test_a_review_is_told_once_however_often_it_is_changed(shop: Shop) -> None:
    bought = await make_purchase(await add_person("ada"))
    review_id, product_id = new_id(), bought.item("MUG").product_id
    for rating in (5, 1, 3):
        await hear(ReviewPosted(review_id, product_id, bought.mugs, None, rating, True))
        await plan()
    rows = await messages_of(await owner_of(bought.mugs))
    assert Counter(row["channel"] for row in rows) == {"email": 1, "in_app": 1}
    assert (rows[0]["content"]["rating"], rows[0]["content"]["product_name"]) == (5, "A mug")


async def test_who_was_imported_is_not_welcomed(shop: Shop) -> None:
    ada, ben = await add_person("ada"), await add_person("ben")
    await hear(UserRegistered(ada), UserRegistered(ben, imported=True))
    await plan()
    assert {kind for kind, _, _ in await kinds_of(ada)} == {"welcome"}
    assert await kinds_of(ben) == []


async def test_quiet_hours_are_those_of_the_recipients_clock(shop: Shop) -> None:
    ada = await add_person("ada")
    await live_in(ada, "Asia/Kolkata")
    now = datetime.now(UTC) + timedelta(hours=5, minutes=30)
    quiet = users.QuietHours(f"{(now.hour - 1) % 24:02}:00", f"{(now.hour + 2) % 24:02}:00")
    await choose(ada, quiet_hours=quiet)
    await hear(UserRegistered(ada), SessionsRevoked(ada))
    await plan()
    waiting = {(row["kind"], row["channel"]): row["reason"] for row in await messages_of(ada) if row["due_at"] > datetime.now(UTC)}
    assert waiting == {("welcome", "email"): "quiet_hours"}


async def test_admins_are_told_who_wants_to_sell(shop: Shop) -> None:
    boss = await add_person("boss", roles=("buyer", "admin"))
    with asked_by("buyer", user_id=await add_person("ada")):
        seller = await users.apply_as_seller(users.SellerFields("Ada's engines"))
    await hear(SellerApplied(seller.id, new_id()))
    await plan()
    assert {(row["kind"], row["content"]["seller_id"]) for row in await messages_of(boss)} == {("seller_applied", str(seller.id))}
