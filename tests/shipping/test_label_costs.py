"""Whoever buys a label pays for it, and has the money again when the carrier has taken it back."""

from collections.abc import Awaitable, Callable

import pytest
from tests.payments.bank import balance_of
from tests.shipping.conftest import Depot
from tests.shipping.parcels import SELLER, SENDER, as_seller, as_system, dispatch, pack
from tests.shipping.test_buying import go_on
from tests.waiting import until

from souk import audit, shipping
from souk.app import Shop
from souk.shipping.database import db

TOLD = "SELECT type FROM shipping.outbox WHERE type LIKE 'shipping.Label%' ORDER BY xid, id"


@pytest.fixture
async def shop(working_shop: Shop) -> Shop:
    """Payments hears what shipping tells."""
    return working_shop


def seller_has(amount: int) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return await balance_of(SELLER) == amount

    return has


async def buy(carrier: str | None = None) -> tuple[shipping.Shipment, int]:
    """A parcel with a label, and what that costs."""
    parcel = await pack()
    with as_seller():
        await shipping.set_sender(SELLER, SENDER)
        label = await shipping.buy_label(parcel.id, shipping.BuyLabel(carrier, None, 750, "EUR"))
    return parcel, label.price.amount if label.price else 0


async def check_labels() -> None:
    with as_system():
        (rule,) = [rule for rule in (await audit.check_books(settled=False)).rules if rule.id == "I6.labels"]
    assert rule.findings == ()


async def told() -> list[str]:
    return [row[0].removeprefix("shipping.") for row in await db.pool.fetch(TOLD)]


async def test_a_seller_pays_for_a_label_until_it_is_given_back(depot: Depot) -> None:
    parcel, price = await buy()
    assert price > 0
    await until(seller_has(-price))
    await check_labels()
    with as_seller():
        assert (await shipping.void_label(parcel.id)).status == "voided"
    await until(seller_has(0))
    await check_labels()
    assert await told() == ["LabelBought", "LabelVoided"]


async def test_a_label_that_comes_too_late_costs_nothing_when_it_has_gone_back(depot: Depot) -> None:
    await depot.control(next="timeout_charged", on="label")
    parcel, _ = await buy()
    await dispatch(parcel, shipping.Consignment("DHL", "00340434"))
    await go_on()
    await go_on()
    await until(seller_has(0))
    assert await told() == ["LabelBought", "LabelVoided"]
    await check_labels()


async def test_one_that_stays_with_its_seller_is_paid(depot: Depot) -> None:
    parcel, price = await buy()
    await depot.scan((await look(parcel)).tracking_number or "", "in_transit")
    with as_seller():
        assert (await shipping.void_label(parcel.id)).failure_code == "label_used"
    await until(seller_has(-price))
    await check_labels()


async def look(parcel: shipping.Shipment) -> shipping.Label:
    with as_seller():
        return await shipping.get_label(parcel.id)


async def test_our_own_label_costs_nothing(depot: Depot) -> None:
    await buy("manual")
    assert await told() == []
