"""Whatever buyers, sellers and admins do in whatever order, the shop does what its simple model says, to the piece and to the cent.

An ordinary run is 12 examples of 40 steps, half a minute; `make torture` runs 2,000 of 50, in eight shops: most of a step is waiting.
"""

import asyncio
import copy
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.audit.history import check
from tests.journeys.shop_doors import Doors, expect
from tests.journeys.shop_model import BUYERS, Refused, Shop
from tests.journeys.shop_worths import OFFERS
from tests.orders.market import as_system
from tests.quiet import is_quiet
from tests.torture import TORTURE, report, rounds
from tests.waiting import until

from souk import app, payments, pricing, shipping
from souk.kit.delivery import decode
from souk.kit.events import CONSUMERS
from souk.kit.money import Money
from souk.kit.outbox import START, read_outbox

T = TypeVar("T")
log = logging.getLogger(__name__)
Run = Callable[[Awaitable[T]], T]
Step = tuple[str, dict[str, Any]]
Asked = tuple[str, Step, str | None]

# What may be asked again at any later time: the same key or id gives the first answer and changes nothing.
KEPT = {"order", "pay", "cancel_pieces", "cancel_part", "pack", "ask_return", "goodwill", "restock", "deposit", "send"}
# Of these only what was done is kept; what was refused may be done when it is asked for again.
KEPT_IF_DONE = {"order", "pay", "goodwill"}
# What changes nothing if it is asked again at once.
REPEATABLE = {
    *KEPT, "add_item", "set_quantity", "put_coupon", "clear_coupon", "expire", "cancel_whole", "unpack", "dispatch", "deliver", "rule_on",
    "receive", "count_stock", "set_price", "set_commission", "set_terms",
}  # fmt: skip

buyers = st.sampled_from(BUYERS)
skus = st.sampled_from(sorted(OFFERS))
sellers = st.sampled_from(sorted({seller for seller, _ in OFFERS.values()}))
pieces = st.integers(1, 4)
numbers = st.integers(0, 1000)
cents = st.sampled_from((1, 7, 100, 333, 500, 1250, 4000))
countries = st.sampled_from(("DE", "US"))
ways_to_pay = st.sampled_from(("tok_visa", "tok_visa", "wallet", "tok_declined"))


SHOPS = rounds(1, 8)
# Each step waits for the whole shop: only torture has the time to look for the shortest story.
EXPLORATION = settings(
    max_examples=rounds(12, 2000) // SHOPS,
    stateful_step_count=rounds(40, 50),
    deadline=None,
    derandomize=False,
    phases=(Phase.generate, *((Phase.shrink,) if TORTURE else ())),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@contextmanager
def working(shop: app.Shop) -> Iterator[Run[Any]]:
    """A shop at work on a loop of its own, which turns while something is run on it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        opened, over = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            async with app.at_work(shop):
                await open_for_all()
                opened.set()
                await over.wait()

        async def start() -> asyncio.Task[None]:
            task = asyncio.create_task(work())
            await opened.wait()
            return task

        async def stop(task: asyncio.Task[None]) -> None:
            over.set()
            await task

        task = runner.run(start())
        try:
            yield runner.run
        finally:
            runner.run(stop(task))


async def open_for_all() -> None:
    """Test cards, shipping for 5.00, and two countries: one with the tax inside of its prices, one without."""
    with as_system():
        await payments.allow_test_gateway()
        rates = (("DE", 190_000), ("US", 72_500))
        await pricing.set_tax_rates(tuple(pricing.NewTaxRate(country=country, name="Tax", rate_ppm=ppm) for country, ppm in rates))
        methods = (shipping.Method("standard", "Standard", 2, 4, (shipping.ZoneRate(Money(500, "USD")),)),)
        await shipping.create_zone(shipping.NewZone(name="World", methods=methods))


def step(**arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule, whatever there is to do it with.

    It has no precondition: what two who ask at once leave behind differs from run to run, and what Hypothesis draws may not.
    """

    def decorate(function: Callable[..., None]) -> Any:
        @wraps(function)
        def act(self: "ShopMachine", **drawn: Any) -> None:
            try:
                function(self, **drawn)
            except NothingThere:
                return

        return rule(**arguments)(act)

    return decorate


class ShopMachine(RuleBasedStateMachine):
    """Does the same to a shop and to its model, and compares after each step what has become of both."""

    def __init__(self, run: Run[Any], done: Counter[str], story: list[str]) -> None:
        super().__init__()
        self.run = run
        self.done = done
        self.model = Shop()
        self.doors = Doors()
        self.number = itertools.count(1)
        self.past: list[Asked] = []
        self.last: list[Asked] = []
        self.story = story
        self.story.clear()

    @initialize(lines=st.dictionaries(skus, pieces, min_size=2), country=countries)
    def open_market(self, lines: dict[str, int], country: str) -> None:
        self.run(self.doors.open(self.model))
        for buyer in BUYERS:
            for sku, quantity in lines.items():
                self.do("add_item", buyer=buyer, sku=sku, quantity=quantity)
            self.do("order", order=next(self.number), buyer=buyer, country=country, pay="tok_visa")
        self.send(0)

    def send(self, number: int) -> None:
        """A seller packs all that is left of their part of an order, and it leaves."""
        order, sku = self.a_line(number)
        parcel = next(self.number)
        self.do("pack", parcel=parcel, order=order, seller=OFFERS[sku][0], pieces=None)
        if parcel in self.model.parcels:
            self.do("dispatch", parcel=parcel)

    def do(self, what: str, **how: Any) -> None:
        """Ask both for the same; the same must become of it."""
        key = f"{self.doors.mark}-{next(self.number)}"
        expected = foresee(self.model, (what, how))
        self.story.append(f"{what} {how}: {expected or 'done'}")
        assert self.run(self.doors.ask(what, key, **how)) == expected
        self.done[f"{what} {'refused' if expected else 'done'}"] += 1
        self.last = [(key, (what, how), expected)] if what in REPEATABLE else []
        self.past += self.last
        self.compare()

    def compare(self, *models: Shop) -> None:
        """When all is quiet, the shop is as the model, or as one of these, which is the model then."""
        self.run(until(is_quiet))
        seen = self.run(self.doors.see())
        self.model = next((one for one in models if expect(one) == seen), models[0] if models else self.model)
        expected = expect(self.model)
        assert {name: difference(seen[name], expected[name]) for name in seen if seen[name] != expected[name]} == {}

    def do_at_once(self, one: Step, other: Step) -> None:
        """Ask for both at the same moment: it comes out as if one had been first."""
        keys = [f"{self.doors.mark}-{next(self.number)}" for _ in range(2)]

        async def ask() -> list[str | None]:
            return await asyncio.gather(*(self.doors.ask(what, key, **how) for key, (what, how) in zip(keys, (one, other), strict=True)))

        first, second = copy.deepcopy(self.model), copy.deepcopy(self.model)
        answers = [foresee(first, one), foresee(first, other)]
        turned = [foresee(second, other), foresee(second, one)][::-1]
        heard = self.run(ask())
        self.story.append(f"at once {one} and {other}: {heard}")
        fitting = [model for model, expected in ((first, answers), (second, turned)) if expected == heard]
        assert fitting, f"{heard} is neither {answers} nor {turned}"
        self.done[f"{one[0]} and {other[0]} at once"] += 1
        self.last = []
        self.compare(*fitting)

    def teardown(self) -> None:
        if self.doors.before:
            found = self.run(check(settled=True))
            assert [(one.id, one.count) for one in found.rules if one.count] == []

    def orders_that(self, *statuses: str) -> list[int]:
        return [order for order, its in self.model.orders.items() if its.status in statuses]

    def an_order(self, number: int, *statuses: str) -> int:
        return pick(number, self.orders_that(*statuses))

    @step(buyer=buyers, sku=skus, quantity=pieces)
    def add_item(self, buyer: str, sku: str, quantity: int) -> None:
        self.do("add_item", buyer=buyer, sku=sku, quantity=quantity)

    @step(number=numbers, quantity=pieces)
    def set_quantity(self, number: int, quantity: int) -> None:
        buyer, sku = pick(number, [(buyer, sku) for buyer, cart in self.model.carts.items() for sku in cart.lines])
        self.do("set_quantity", buyer=buyer, sku=sku, quantity=quantity)

    def fill(self, buyer: str, sku: str) -> None:
        """There is something in the buyer's cart."""
        if not self.model.carts[buyer].lines:
            self.do("add_item", buyer=buyer, sku=sku, quantity=1)

    @step(number=numbers)
    def remove_item(self, number: int) -> None:
        buyer, sku = pick(number, [(buyer, sku) for buyer, cart in self.model.carts.items() for sku in cart.lines])
        self.do("remove_item", buyer=buyer, sku=sku)

    @step(buyer=buyers, lines=st.dictionaries(skus, pieces, min_size=1, max_size=2))
    def sign_in_with_a_guests_cart(self, buyer: str, lines: dict[str, int]) -> None:
        self.do("merge_cart", buyer=buyer, lines=lines)

    @step(buyer=buyers, sku=skus, code=st.sampled_from(("TENTH", "POTTERY")))
    def put_coupon(self, buyer: str, sku: str, code: str) -> None:
        self.fill(buyer, sku)
        self.do("put_coupon", buyer=buyer, code=code)

    @step(buyer=buyers)
    def clear_coupon(self, buyer: str) -> None:
        self.do("clear_coupon", buyer=buyer)

    @step(buyer=buyers, country=countries, pay=ways_to_pay)
    def order(self, buyer: str, country: str, pay: str) -> None:
        self.do("order", order=next(self.number), buyer=buyer, country=country, pay=pay)

    @step(buyer=buyers, sku=skus, country=countries)
    def order_and_pay_later(self, buyer: str, sku: str, country: str) -> None:
        self.fill(buyer, sku)
        self.do("order", order=next(self.number), buyer=buyer, country=country, pay=None)

    def a_draft(self, number: int, sku: str) -> int:
        """An order that waits for its payment; a new one if there is none."""
        if not self.orders_that("draft"):
            self.order_and_pay_later(buyer=BUYERS[number % 2], sku=sku, country="DE")
        return self.an_order(number, "draft")

    @step(number=numbers, country=countries, price=cents)
    def order_for_what_was_shown_before_a_price_changed(self, number: int, country: str, price: int) -> None:
        buyer = pick(number, [buyer for buyer, cart in self.model.carts.items() if cart.lines])
        cart = self.model.carts[buyer]
        if foresee(self.model, ("check_coupon", {"buyer": buyer, "code": cart.coupon})):
            return
        shown = self.run(self.doors.quote(buyer, country))
        assert shown == self.model.price(buyer, country).total
        self.do("set_price", sku=pick(number, list(cart.lines)), price=price)
        self.do("order", order=next(self.number), buyer=buyer, country=country, pay="tok_visa", expected=shown)

    @step(number=numbers, sku=skus, pay=ways_to_pay)
    def pay(self, number: int, sku: str, pay: str) -> None:
        self.do("pay", order=self.a_draft(number, sku), how=pay)

    @step(number=numbers, pay=ways_to_pay)
    def pay_whatever_it_is(self, number: int, pay: str) -> None:
        self.do("pay", order=pick(number, list(self.model.orders)), how=pay)

    @step(number=numbers, sku=skus)
    def let_time_run_out(self, number: int, sku: str) -> None:
        self.do("expire", order=self.a_draft(number, sku))

    @step(buyer=buyers, amount=st.sampled_from((500, 3000, 20_000)), token=st.sampled_from(("tok_visa", "tok_visa", "tok_declined")))
    def deposit(self, buyer: str, amount: int, token: str) -> None:
        self.do("deposit", buyer=buyer, amount=amount, token=token)

    @step(buyer=buyers, amount=cents, rich=st.booleans())
    def send_money(self, buyer: str, amount: int, rich: bool) -> None:
        for one in BUYERS if rich else ():
            self.do("deposit", buyer=one, amount=amount, token="tok_visa")
        self.do("send", buyer=buyer, amount=amount)

    @step(number=numbers)
    def cancel_whole(self, number: int) -> None:
        self.do("cancel_whole", order=pick(number, list(self.model.orders)))

    @step(number=numbers, quantity=pieces, by_seller=st.booleans())
    def cancel_pieces(self, number: int, quantity: int, by_seller: bool) -> None:
        what, how = self.cancellation(number, quantity, by_seller)
        self.do(what, **how)

    @step(number=numbers, by_seller=st.booleans())
    def cancel_a_piece_that_is_there(self, number: int, by_seller: bool) -> None:
        lines = [(order, line) for order in self.orders_that("placed") for line in self.model.orders[order].lines.values()]
        order, sku = pick(number, [(order, line.sku) for order, line in lines if line.quantity > line.canceled + line.shipped])
        self.do("cancel_pieces", order=order, pieces={sku: 1}, seller=OFFERS[sku][0] if by_seller else None)

    def cancellation(self, number: int, quantity: int, by_seller: bool) -> Step:
        order, sku = self.a_line(number)
        return "cancel_pieces", {"order": order, "pieces": {sku: quantity}, "seller": OFFERS[sku][0] if by_seller else None}

    def a_line(self, number: int) -> tuple[int, str]:
        return pick(number, [(order, sku) for order in self.orders_that("placed") for sku in self.model.orders[order].lines])

    @step(number=numbers)
    def cancel_part(self, number: int) -> None:
        order, sku = self.a_line(number)
        self.do("cancel_part", order=order, seller=OFFERS[sku][0])

    @step(number=numbers)
    def pack_all(self, number: int) -> None:
        order, sku = self.a_line(number)
        self.do("pack", parcel=next(self.number), order=order, seller=OFFERS[sku][0], pieces=None)

    @step(number=numbers, quantity=pieces)
    def pack_pieces(self, number: int, quantity: int) -> None:
        order, sku = self.a_line(number)
        self.do("pack", parcel=next(self.number), order=order, seller=OFFERS[sku][0], pieces={sku: quantity})

    @step(number=numbers)
    def unpack(self, number: int) -> None:
        packed = [parcel for parcel, its in self.model.parcels.items() if its.status == "packed"]
        self.do("unpack", parcel=pick(number // 2, (number % 2 and packed) or list(self.model.parcels)))

    @step(number=numbers)
    def dispatch(self, number: int) -> None:
        self.do("dispatch", parcel=pick(number, list(self.model.parcels)))

    @step(number=numbers)
    def deliver(self, number: int) -> None:
        self.do("deliver", parcel=pick(number, list(self.model.parcels)))

    @step(number=numbers)
    def send_a_part(self, number: int) -> None:
        self.send(number)

    @step(number=numbers, quantity=pieces, reason=st.sampled_from(("changed_mind", "damaged")), to=st.sampled_from(("origin", "wallet")))
    def ask_return(self, number: int, quantity: int, reason: str, to: str) -> None:
        lines = [(order, line) for order in self.orders_that("placed") for line in self.model.orders[order].lines.values()]
        order, sku = pick(number, [(order, line.sku) for order, line in lines if line.shipped])
        self.do("ask_return", back=next(self.number), order=order, sku=sku, quantity=quantity, how=(reason, to))

    def a_return(self, number: int) -> int:
        """Half of the time one that is not at its end; a new one if there is none."""
        if not self.open_returns():
            self.ask_return(number=number, quantity=1, reason="damaged", to="origin")
        return pick(number // 2, (number % 2 and self.open_returns()) or list(self.model.returns))

    def open_returns(self) -> list[int]:
        return [back for back, its in self.model.returns.items() if its.status in ("requested", "approved")]

    @step(number=numbers, status=st.sampled_from(("approved", "refused", "canceled")))
    def rule_on_return(self, number: int, status: str) -> None:
        self.do("rule_on", back=self.a_return(number), status=status)

    @step(number=numbers, lost=st.integers(0, 2), broken=st.integers(0, 2), deduction=st.sampled_from((0, 0, 1, 100, 999)))
    def receive(self, number: int, lost: int, broken: int, deduction: int) -> None:
        back = self.a_return(number)
        received = max(self.model.returns[back].quantity - lost, 0)
        self.do("receive", back=back, arrived=(received, max(received - broken, 0)), deduction=deduction)

    @step(number=numbers, amount=st.none() | cents)
    def goodwill(self, number: int, amount: int | None) -> None:
        self.do("goodwill", order=self.an_order(number, "placed"), amount=amount)

    @step(sku=skus, on_hand=st.integers(0, 12))
    def count_stock(self, sku: str, on_hand: int) -> None:
        self.do("count_stock", sku=sku, on_hand=on_hand)

    @step(sku=skus, quantity=pieces)
    def restock(self, sku: str, quantity: int) -> None:
        self.do("restock", sku=sku, pieces=quantity)

    @step(sku=skus, price=cents)
    def set_price(self, sku: str, price: int) -> None:
        self.do("set_price", sku=sku, price=price)

    @step(seller=sellers, percent=st.sampled_from((0, 7, 33)))
    def set_commission(self, seller: str, percent: int) -> None:
        self.do("set_commission", seller=seller, percent=percent)

    @step(seller=sellers, fee=st.sampled_from((0, 15)), final_sale=st.booleans())
    def set_terms(self, seller: str, fee: int, final_sale: bool) -> None:
        self.do("set_terms", seller=seller, fee_percent=fee, final_sale=final_sale)

    @step(number=numbers)
    def ask_the_same_again_at_once(self, number: int) -> None:
        self.ask_again(*pick(0, self.last))

    @step(number=numbers)
    def ask_the_same_again_later(self, number: int) -> None:
        self.ask_again(*pick(number, [one for one in self.past if is_kept(*one)]))

    def ask_again(self, key: str, step: Step, answer: str | None) -> None:
        what, how = step
        self.story.append(f"again {what} {how}: {answer or 'done'}")
        if what == "order" and answer is None and self.model.orders[how["order"]].status == "rejected":
            answer = "PaymentExpired"
        assert self.run(self.doors.ask(what, key, **how)) == answer
        self.done["again"] += 1
        self.compare()

    @step()
    def events_are_told_again(self) -> None:
        """Consumers that call others hear of all that has happened a second time, as after a crash."""
        self.story.append("all events once more")
        self.run(tell_again())
        self.done["told again"] += 1
        self.compare()

    @step(country=countries)
    def both_order_at_once(self, country: str) -> None:
        pick(0, [True] if all(cart.lines for cart in self.model.carts.values()) else [])
        one, other = (("order", {"order": next(self.number), "buyer": buyer, "country": country, "pay": "tok_visa"}) for buyer in BUYERS)
        self.do_at_once(one, other)

    @step(number=numbers, on_hand=st.integers(0, 12))
    def order_and_count_at_once(self, number: int, on_hand: int) -> None:
        buyer, sku = pick(number, [(buyer, sku) for buyer, cart in self.model.carts.items() for sku in cart.lines])
        one = ("order", {"order": next(self.number), "buyer": buyer, "country": "DE", "pay": "tok_visa"})
        self.do_at_once(one, ("count_stock", {"sku": sku, "on_hand": on_hand}))

    @step(number=numbers, quantity=pieces, other=pieces)
    def cancel_pieces_at_once(self, number: int, quantity: int, other: int) -> None:
        self.do_at_once(self.cancellation(number, quantity, False), self.cancellation(number, other, True))

    @step(number=numbers, quantity=pieces)
    def give_money_and_cancel_at_once(self, number: int, quantity: int) -> None:
        step = self.cancellation(number, quantity, False)
        self.do_at_once(step, ("goodwill", {"order": step[1]["order"], "amount": 100}))

    @step(number=numbers)
    def send_and_cancel_at_once(self, number: int) -> None:
        parcel = pick(number, list(self.model.parcels))
        self.do_at_once(("dispatch", {"parcel": parcel}), ("cancel_whole", {"order": self.model.parcels[parcel].order}))

    @step(number=numbers)
    def receive_and_refuse_at_once(self, number: int) -> None:
        back = pick(number, list(self.model.returns))
        arrived = (self.model.returns[back].quantity, 0)
        self.do_at_once(("receive", {"back": back, "arrived": arrived, "deduction": 0}), ("rule_on", {"back": back, "status": "refused"}))

    @step(number=numbers, sku=skus)
    def pay_and_give_up_at_once(self, number: int, sku: str) -> None:
        order = self.a_draft(number, sku)
        self.do_at_once(("pay", {"order": order, "how": "tok_visa"}), ("expire", {"order": order}))


class NothingThere(Exception):
    """What a rule is about is not there yet."""


def pick(number: int, things: list[T]) -> T:
    if not things:
        raise NothingThere
    return things[number % len(things)]


def is_kept(key: str, step: Step, answer: str | None) -> bool:
    return step[0] in KEPT and (answer is None or step[0] not in KEPT_IF_DONE)


def foresee(model: Shop, step: Step) -> str | None:
    """Do it in the model; the refusal."""
    what, how = step
    try:
        getattr(model, what)(**how)
    except Refused as refusal:
        return str(refusal)
    return None


def difference(seen: dict[Any, Any], expected: dict[Any, Any]) -> dict[Any, tuple[Any, Any]]:
    return {name: (seen.get(name), expected.get(name)) for name in seen.keys() | expected.keys() if seen.get(name) != expected.get(name)}


async def tell_again() -> None:
    with as_system():
        for consumer in [one for one in CONSUMERS.values() if one.kind == "call" and one.context in app.CONTEXTS]:
            for source in consumer.sources:
                if news := decode(consumer, await read_outbox(source, START, 10_000, 0)):
                    await consumer.function(news)


def as_table(done: Counter[str]) -> str:
    return "\n".join(f"{count:7} {what}" for what, count in sorted(done.items()))


@pytest.mark.timeout(rounds(900, 20_000))
@pytest.mark.parametrize("number", range(SHOPS))
def test_the_shop_does_what_its_model_does(whole_shop: app.Shop, number: int) -> None:
    done: Counter[str] = Counter()
    story: list[str] = []
    with working(whole_shop) as run:
        try:
            run_state_machine_as_test(partial(ShopMachine, run, done, story), settings=EXPLORATION)  # type: ignore[arg-type]
        except BaseException:
            log.error("the last story:\n%s", "\n".join(story))
            raise
    report(f"shop-machine-{number}", as_table(done))
    assert not TORTURE or {what for what in KEPT | REPEATABLE if not done[f"{what} done"]} == set()
