"""A label costs its seller what its carrier wants for it, once, and nothing if it was taken back."""

from datetime import UTC, datetime, timedelta

from tests.conftest import asked_by
from tests.payments.bank import balance_of, earn
from tests.payments.money import balance

from souk import payments
from souk.app import Shop
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import StatementWanted, labels, ledger
from souk.payments.database import db
from souk.shipping.events import LabelBought, LabelVoided

SELLER = new_id()
ABOUT = new_id(), new_id(), SELLER, Money(420, "EUR")


async def hear(*news: LabelBought | LabelVoided) -> None:
    async with db.transaction() as tx:
        await labels.book_labels(tx, news)


async def test_a_label_is_paid_by_its_seller_once_and_paid_back_once(shop: Shop) -> None:
    await earn(SELLER, 5_000)
    for news in ((LabelBought(*ABOUT), LabelBought(*ABOUT)), (LabelBought(*ABOUT),)):
        await hear(*news)
        assert (await balance_of(SELLER), await balance(ledger.carriers_due("EUR"))) == (4_580, 420)
    for _ in range(2):
        await hear(LabelVoided(*ABOUT))
        assert (await balance_of(SELLER), await balance(ledger.carriers_due("EUR"))) == (5_000, 0)
    today = datetime.now(UTC).date()
    with asked_by("seller", sells_for=(SELLER,)):
        page = await payments.read_statement(StatementWanted(SELLER, "EUR", today, today + timedelta(days=1)), 10)
    told = [(one.kind, one.amount.amount, one.cause) for one in page.items]
    assert told == [("earned", 5_000, "order"), ("label", -420, "order"), ("label_undone", 420, "order")]
    assert {one.cause_id for one in page.items[1:]} == {ABOUT[1]}


async def test_it_is_booked_in_its_own_currency(shop: Shop) -> None:
    seller_id = new_id()
    await earn(seller_id, 5_000)
    await hear(LabelBought(new_id(), new_id(), seller_id, Money(758, "USD")))
    assert (await balance_of(seller_id), await balance_of(seller_id, "USD")) == (5_000, -758)


async def test_bought_and_taken_back_before_anybody_has_looked(shop: Shop) -> None:
    await hear(LabelBought(*ABOUT), LabelVoided(*ABOUT))
    assert await balance_of(SELLER) == 0
