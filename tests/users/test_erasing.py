"""People get what the shop keeps of them, and go without a trace but a number."""

import asyncio

import msgspec
import pytest
from tests.users.people import PASSWORD, as_system, as_user, events_of, read_token, register, sign_in

from souk import users
from souk.app import Shop
from souk.kit import personal
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.users.database import db

CANARY = "canary-7f3a"


class _Text(msgspec.Struct, frozen=True):
    text: str


async def everything() -> str:
    """Every row of every table of users, as text."""
    async with db.transaction() as tx:
        tables = await tx.all(_Text, "SELECT tablename AS text FROM pg_tables WHERE schemaname = 'users' ORDER BY 1")
        rows = [await tx.all(_Text, f"SELECT t::text AS text FROM users.{table.text} AS t") for table in tables]
    return "\n".join(row.text for some in rows for row in some)


async def fill_everything() -> users.Registered:
    """Somebody of whom every table knows something."""
    ada = await users.register_user(users.Register(f"{CANARY}@example.com", PASSWORD, CANARY, CANARY, "+44 20 7946 0000"), "203.0.113.7")
    address = users.AddressFields(name=CANARY, line1=CANARY, city=CANARY, postal_code="10117", country="DE")
    with asking(Caller(Principal("user", ada.id), idempotency_key="address-1")):
        await users.add_address(ada.id, address)
    with as_user(ada.id):
        await users.set_preferences(ada.id, users.SetPreferences(brands=(CANARY,)))
        await users.apply_as_seller(users.SellerFields("Engines", contact_email=f"{CANARY}@example.com"))
    with as_system():
        await users.issue_token(ada.id, "verify_email")
    return ada


async def test_an_export_is_complete_and_holds_no_secret(shop: Shop) -> None:
    ada = await fill_everything()
    with as_user(ada.id):
        exported = await personal.export_user_data(ada.id)
    mine = exported["users"]
    assert {name for name, rows in mine.items() if rows} == {"user", "preferences", "addresses", "sessions", "memberships"}
    text = msgspec.json.encode(exported).decode()
    for value in (f"{CANARY}@example.com", "+44 20 7946 0000", f'"brands":["{CANARY}"]', f'"line1":"{CANARY}"'):
        assert value in text
    for secret in ("_digest", "hash", "$argon2", ada.refresh_token):
        assert secret not in text


async def test_nobody_exports_or_erases_another(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    for stranger in (Principal(), Principal("user", bob.id, ("buyer", "seller"))):
        with asking(Caller(stranger)):
            with pytest.raises(NotFound):
                await personal.export_user_data(ada.id)
            with pytest.raises(NotFound):
                await users.erase_user(ada.id)
    await sign_in("ada")


async def test_who_is_erased_is_nowhere_any_more(shop: Shop) -> None:
    ada = await fill_everything()
    kept = await everything()
    assert CANARY in kept
    assert CANARY.encode().hex() in kept  # the answer that was kept for an Idempotency-Key
    with as_user(ada.id):
        await users.erase_user(ada.id)
        await users.erase_user(ada.id)
        with pytest.raises(NotFound):
            await users.get_user(ada.id)
    kept = await everything()
    assert CANARY not in kept
    assert CANARY.encode().hex() not in kept
    assert await events_of("UserErased") == [ada.id]
    with pytest.raises(Unauthenticated):
        await read_token(ada.access_token)
    with pytest.raises(users.SessionOver):
        await users.refresh_session(users.Refresh(ada.refresh_token))
    with pytest.raises(users.WrongCredentials):
        await sign_in(CANARY)


async def test_an_erased_id_does_not_come_back_and_the_address_may(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        await users.erase_user(ada.id)
    with as_system():
        await users.register_users((users.NewUser(id=ada.id, email="ada@example.com"),))
        assert await users.get_users((ada.id,)) == ()
    assert (await register()).id != ada.id


async def test_an_admin_erases_on_request(shop: Shop) -> None:
    ada = await register()
    with as_user(new_id(), "admin"):
        await users.erase_user(ada.id)
        assert await users.get_users((ada.id,)) == ()
        with pytest.raises(NotFound):
            await users.erase_user(new_id())


async def test_a_seller_whom_nobody_owns_any_more_stops_selling(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    with as_user(ada.id):
        alone = await users.apply_as_seller(users.SellerFields("Alone", contact_email="ada@example.com"))
        shared = await users.apply_as_seller(users.SellerFields("Shared"))
        waiting = await users.apply_as_seller(users.SellerFields("Waiting"))
        await users.add_member(alone.id, users.AddMember(bob.id))
        await users.add_member(shared.id, users.AddMember(bob.id, "owner"))
    with as_system():
        await users.approve_seller(alone.id)
        await users.approve_seller(shared.id)
    selling = await sign_in("bob")
    with as_user(ada.id):
        await users.erase_user(ada.id)
    with as_system():
        left = await users.get_sellers((alone.id, shared.id, waiting.id))
        with pytest.raises(users.LastOwner):
            await users.approve_seller(waiting.id)
    assert [seller.status for seller in left] == ["suspended", "approved", "rejected"]
    assert left[0].contact_email is None
    assert await events_of("SellerSuspended") == [alone.id]
    with pytest.raises(Unauthenticated):
        await read_token(selling.access_token)
    fresh = await users.refresh_session(users.Refresh(selling.refresh_token))
    assert (await read_token(fresh.access_token)).seller_ids == (shared.id,)


async def test_two_who_erase_at_once_erase_once(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        await asyncio.gather(*(users.erase_user(ada.id) for _ in range(4)))
    assert await events_of("UserErased") == [ada.id]
