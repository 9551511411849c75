"""Sellers apply, admins rule, and the tokens of a seller's team say at once what is true."""

import asyncio
from uuid import UUID

import pytest
from tests.users.people import as_system, as_user, events_of, read_token, register

from souk import users
from souk.app import Shop
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import Forbidden, NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.users.database import db

FIELDS = users.SellerFields("Ada's engines", "Analytical ones", "shop@example.com")


async def apply(user_id: UUID) -> users.Seller:
    with as_user(user_id):
        return await users.apply_as_seller(FIELDS)


async def approve(seller_id: UUID) -> users.Seller:
    with as_user(new_id(), "admin"):
        return await users.approve_seller(seller_id)


async def test_somebody_applies_and_an_admin_approves(shop: Shop) -> None:
    ada = await register()
    seller = await apply(ada.id)
    assert (seller.status, seller.name, seller.contact_email) == ("pending", FIELDS.name, FIELDS.contact_email)
    approved = await approve(seller.id)
    assert (approved.status, approved.id) == ("approved", seller.id)
    assert await events_of("SellerApplied") == await events_of("SellerApproved") == [seller.id]


async def test_the_next_token_carries_the_seller_and_the_present_one_is_void(shop: Shop) -> None:
    ada = await register()
    seller = await apply(ada.id)
    principal = await read_token(ada.access_token)
    assert (principal.roles, principal.seller_ids) == (("buyer",), ())
    await approve(seller.id)
    with pytest.raises(Unauthenticated):
        await read_token(ada.access_token)
    selling = await users.refresh_session(users.Refresh(ada.refresh_token))
    principal = await read_token(selling.access_token)
    assert (principal.roles, principal.seller_ids) == (("buyer", "seller"), (seller.id,))
    with as_user(ada.id):
        assert (await users.get_user(ada.id)).roles == ("buyer", "seller")
    with as_system():
        await users.suspend_seller(seller.id, users.Ruling("counterfeit engines"))
    with pytest.raises(Unauthenticated):
        await read_token(selling.access_token)
    stopped = await users.refresh_session(users.Refresh(selling.refresh_token))
    principal = await read_token(stopped.access_token)
    assert (principal.roles, principal.seller_ids) == (("buyer",), ())


async def test_which_status_may_follow_which(shop: Shop) -> None:
    ada = await register()
    with as_system():
        no = users.Ruling("no")
        one = await apply(ada.id)
        with pytest.raises(users.SellerNotLike):
            await users.suspend_seller(one.id, no)
        rejected = await users.reject_seller(one.id, no)
        assert (rejected.status, rejected.reason) == ("rejected", "no")
        assert await users.reject_seller(one.id, no) == rejected
        approved = await users.approve_seller(one.id)
        assert (approved.status, approved.reason) == ("approved", None)
        assert await users.approve_seller(one.id) == approved
        with pytest.raises(users.SellerNotLike):
            await users.reject_seller(one.id, no)
        suspended = await users.suspend_seller(one.id, no)
        assert (suspended.status, suspended.reason) == ("suspended", "no")
        assert (await users.approve_seller(one.id)).status == "approved"
    assert await events_of("SellerRejected") == [one.id]
    assert await events_of("SellerApproved") == [one.id, one.id]
    assert await events_of("SellerSuspended") == [one.id]


async def test_only_admins_rule(shop: Shop) -> None:
    ada = await register()
    seller = await apply(ada.id)
    with as_user(ada.id, "buyer", "seller"):
        for ruling in (users.approve_seller(seller.id), users.reject_seller(seller.id, users.Ruling())):
            with pytest.raises(Forbidden):
                await ruling
        with pytest.raises(Forbidden):
            await users.suspend_seller(seller.id, users.Ruling())
    with as_system(), pytest.raises(NotFound):
        await users.approve_seller(new_id())


async def test_an_application_that_is_repeated_is_one_seller(shop: Shop) -> None:
    ada = await register()
    with asking(Caller(Principal("user", ada.id), idempotency_key="apply-1")):
        answers = await asyncio.gather(*(users.apply_as_seller(FIELDS) for _ in range(4)))
    assert len({seller.id for seller in answers}) == 1
    assert await db.value("SELECT count(*) FROM users.seller") == 1


async def test_the_public_sees_who_is_approved_and_no_contact(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    open_, waiting = await apply(ada.id), await apply(ada.id)
    await approve(open_.id)
    for outsider in (Principal(), Principal("user", bob.id)):
        with asking(Caller(outsider)):
            (shown,) = (await users.list_sellers(None, False, 20, None)).items
            assert (shown.id, shown.contact_email) == (open_.id, None)
            assert await users.get_seller(open_.id) == shown
            assert await users.get_sellers((waiting.id, open_.id)) == (shown,)
            assert (await users.list_sellers("pending", False, 20, None)).items == ()
            with pytest.raises(NotFound):
                await users.get_seller(waiting.id)
    with as_user(ada.id):
        mine = (await users.list_sellers(None, True, 20, None)).items
        assert [(seller.id, seller.contact_email) for seller in mine] == [(one.id, "shop@example.com") for one in (open_, waiting)]
        assert [seller.id for seller in (await users.list_sellers("pending", True, 20, None)).items] == [waiting.id]
        assert (await users.get_seller(waiting.id)).status == "pending"
    with as_user(new_id(), "admin"):
        assert [seller.id for seller in (await users.list_sellers(None, False, 20, None)).items] == [open_.id, waiting.id]
        assert [seller.id for seller in (await users.list_sellers("pending", False, 20, None)).items] == [waiting.id]
    with pytest.raises(Unauthenticated):
        await users.list_sellers(None, True, 20, None)


async def test_sellers_are_listed_page_by_page(shop: Shop) -> None:
    ada = await register()
    ids = [(await approve((await apply(ada.id)).id)).id for _ in range(5)]
    first = await users.list_sellers(None, False, 3, None)
    second = await users.list_sellers(None, False, 3, first.next)
    assert [seller.id for seller in (*first.items, *second.items)] == ids
    assert second.next is None


async def test_an_owner_changes_the_seller_and_nobody_else_does(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    seller = await apply(ada.id)
    await approve(seller.id)
    with as_user(ada.id):
        changed = await users.change_seller(seller.id, users.ChangeSeller(description=None))
        assert (changed.name, changed.description, changed.status) == (FIELDS.name, None, "approved")
        await users.add_member(seller.id, users.AddMember(bob.id))
    with as_user(bob.id), pytest.raises(NotFound):
        await users.change_seller(seller.id, users.ChangeSeller(name="Bob's engines"))
    with pytest.raises(Unauthenticated):
        await users.change_seller(seller.id, users.ChangeSeller(name="Nobody's engines"))
    with as_user(new_id(), "admin"):
        assert (await users.change_seller(seller.id, users.ChangeSeller(name="Engines"))).name == "Engines"
