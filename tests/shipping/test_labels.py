"""Who gets a parcel's label, and what is on it."""

import asyncio

import pytest
from tests.conftest import asked_by
from tests.shipping.parcels import SELLER, SENDER, as_seller, as_system, pack
from tests.shipping.test_printing import read_text

from souk import shipping
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id


async def test_the_seller_and_admins_get_the_label_and_nobody_else(shop: Shop) -> None:
    buyer_id = new_id()
    parcel = await pack(user_id=buyer_id)
    with as_seller():
        text = read_text(await shipping.print_label(parcel.id))
    with as_system():
        assert read_text(await shipping.print_label(parcel.id)) == text
    assert "Berlin" in text
    for stranger in (asked_by("buyer"), asked_by("buyer", user_id=buyer_id), as_seller(new_id())):
        with stranger, pytest.raises(NotFound):
            await shipping.print_label(parcel.id)


async def test_a_sender_is_on_the_labels_of_their_parcels(shop: Shop) -> None:
    parcel = await pack()
    with as_seller():
        with pytest.raises(NotFound):
            await shipping.get_sender(SELLER)
        assert (await shipping.set_sender(SELLER, SENDER)).address.city == "Leipzig"
        assert (await shipping.get_sender(SELLER)).address.line1 == "Hafenstr. 7"
        assert "Lighthouse Mugs" in read_text(await shipping.print_label(parcel.id))
    with as_seller(new_id()):
        with pytest.raises(NotFound):
            await shipping.get_sender(SELLER)
        with pytest.raises(NotFound):
            await shipping.set_sender(SELLER, SENDER)


async def test_a_parcel_that_was_cancelled_has_no_label(shop: Shop) -> None:
    parcel = await pack()
    with as_seller():
        await shipping.cancel_shipment(parcel.id)
        with pytest.raises(shipping.WrongShipmentStatus):
            await shipping.print_label(parcel.id)


async def test_the_event_loop_goes_on_while_labels_are_drawn(shop: Shop) -> None:
    parcels = [await pack() for _ in range(8)]
    turns, drawn = 0, False

    async def count_turns() -> None:
        nonlocal turns
        while not drawn:
            turns += 1
            await asyncio.sleep(0.001)

    with as_seller():
        counting = asyncio.create_task(count_turns())
        labels = await asyncio.gather(*(shipping.print_label(one.id) for one in parcels))
    drawn = True
    await counting
    assert len(set(labels)) == 8
    assert turns > 8
