"""Everybody has an address book of their own."""

import asyncio

import msgspec
import pytest
from tests.users.people import as_user, register

from souk import users
from souk.app import Shop
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import NotFound
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.users.database import db

FLAT = users.AddressFields(name="Ada", line1="Unter den Linden 1", city="Berlin", postal_code="10117", country="DE", line2="3rd floor")


async def test_an_address_is_written_read_changed_and_struck_out(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        added = await users.add_address(ada.id, FLAT)
        assert await users.get_address(ada.id, added.id) == added
        changed = await users.change_address(ada.id, added.id, users.ChangeAddress(line2=None, city="Potsdam"))
        assert (changed.line1, changed.line2, changed.city, changed.country) == (FLAT.line1, None, "Potsdam", "DE")
        assert changed.updated_at > added.updated_at
        await users.remove_address(ada.id, added.id)
        with pytest.raises(NotFound):
            await users.get_address(ada.id, added.id)
        with pytest.raises(NotFound):
            await users.remove_address(ada.id, added.id)


async def test_another_users_address_is_not_there(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    with as_user(ada.id):
        hers = await users.add_address(ada.id, FLAT)
    with as_user(bob.id):
        for owner in (ada.id, bob.id):
            with pytest.raises(NotFound):
                await users.get_address(owner, hers.id)
            with pytest.raises(NotFound):
                await users.change_address(owner, hers.id, users.ChangeAddress(city="Potsdam"))
            with pytest.raises(NotFound):
                await users.remove_address(owner, hers.id)
        with pytest.raises(NotFound):
            await users.add_address(ada.id, FLAT)
        with pytest.raises(NotFound):
            await users.list_addresses(ada.id, 20, None)
    with as_user(new_id(), "admin"):
        assert await users.get_address(ada.id, hers.id) == hers


async def test_a_book_is_read_page_by_page(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        added = [await users.add_address(ada.id, msgspec.structs.replace(FLAT, line1=str(turn))) for turn in range(3)]
        first = await users.list_addresses(ada.id, 2, None)
        second = await users.list_addresses(ada.id, 2, first.next)
    assert [*first.items, *second.items] == added
    assert second.next is None


async def test_a_repeated_request_adds_one_address(shop: Shop) -> None:
    ada = await register()
    with asking(Caller(Principal("user", ada.id), idempotency_key="key-1")):
        answers = await asyncio.gather(*(users.add_address(ada.id, FLAT) for _ in range(4)))
        assert len({address.id for address in answers}) == 1
        with pytest.raises(IdempotencyKeyReused):
            await users.add_address(ada.id, msgspec.structs.replace(FLAT, city="Potsdam"))
    assert await db.value("SELECT count(*) FROM users.address") == 1


async def test_a_book_has_an_end_at_any_concurrency(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        answers = await asyncio.gather(*(users.add_address(ada.id, FLAT) for _ in range(60)), return_exceptions=True)
    assert sum(isinstance(answer, users.Address) for answer in answers) == 50
    assert sum(isinstance(answer, users.TooManyAddresses) for answer in answers) == 10
