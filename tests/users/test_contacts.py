"""How people are reached: told to those who run the shop, and to nobody else."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.users.people import as_system, as_user, register

from souk import users
from souk.app import Shop
from souk.kit.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.users.database import db


async def add(name: str, *, verified: bool = True, roles: tuple[users.Role, ...] = ("buyer",), age: int = 0) -> UUID:
    born = datetime.now(UTC) - timedelta(days=age)
    user_id = new_id()
    new = users.NewUser(id=user_id, email=f"{name}@example.com", roles=roles, email_verified=verified, created_at=born)
    with as_system():
        await users.register_users((new,))
    return user_id


async def names_of(segment: users.Segment) -> list[str]:
    """Who is in a segment, read two by two."""
    found: list[str] = []
    after: UUID | None = None
    with as_system():
        while page := await users.list_contacts(segment, after, 2):
            found.extend(contact.email.partition("@")[0] for contact in page)
            after = page[-1].user_id
    return found


async def test_a_contact_says_where_how_and_when(shop: Shop) -> None:
    ada = await register()
    quiet = users.QuietHours("22:00", "07:00")
    wanted = users.SetPreferences(
        language="de",
        timezone="Europe/Berlin",
        notifications={"welcome": {"email": False}},
        quiet_hours=quiet,
        digests={"reviews": "daily"},
    )
    with as_user(ada.id):
        mine = await users.set_preferences(ada.id, wanted)
    assert (mine.quiet_hours, mine.digests) == (quiet, {"reviews": "daily"})
    with as_system():
        (contact,) = await users.get_contacts((ada.id, new_id()))
    assert (contact.user_id, contact.email, contact.email_verified) == (ada.id, "ada@example.com", False)
    assert (contact.language, contact.timezone, contact.notifications) == ("de", "Europe/Berlin", {"welcome": {"email": False}})
    assert (contact.quiet_hours, contact.digests) == (quiet, {"reviews": "daily"})


async def test_only_those_who_run_the_shop_are_told(shop: Shop) -> None:
    ada = await register()
    everything = (
        lambda: users.get_contacts((ada.id,)),
        lambda: users.get_teams((new_id(),)),
        users.list_admins,
        lambda: users.list_contacts(users.Segment(), None, 10),
    )
    for ask in everything:
        with pytest.raises(Unauthenticated):
            await ask()
        with as_user(ada.id, "buyer", "seller"), pytest.raises(Forbidden):
            await ask()


async def test_a_segment_is_read_page_by_page_without_who_has_not_shown_their_address(shop: Shop) -> None:
    await add("old", age=30)
    await add("unverified", verified=False)
    german = await add("german")
    await add("admin", roles=("buyer", "admin"))
    await add("new")
    with as_user(german):
        await users.set_preferences(german, users.SetPreferences(language="de-AT"))
    recent = datetime.now(UTC) - timedelta(days=7)
    assert await names_of(users.Segment()) == ["old", "german", "admin", "new"]
    assert await names_of(users.Segment(role="admin")) == ["admin"]
    assert await names_of(users.Segment(language="de")) == await names_of(users.Segment(language="de-AT")) == ["german"]
    assert await names_of(users.Segment(language="d")) == []
    assert await names_of(users.Segment(registered_from=recent)) == ["german", "admin", "new"]
    assert await names_of(users.Segment(registered_before=recent)) == ["old"]
    assert await names_of(users.Segment(user_ids=(german,), language="de")) == ["german"]
    assert await names_of(users.Segment(user_ids=())) == []
    with as_system():
        await users.erase_user(german)
    assert await names_of(users.Segment(language="de")) == []


async def test_teams_and_admins_are_known(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    boss = await add("boss", roles=("buyer", "admin"))
    with as_user(ada.id):
        seller = await users.apply_as_seller(users.SellerFields("Ada's engines"))
        await users.add_member(seller.id, users.AddMember(bob.id))
    with as_system():
        team = await users.get_teams((seller.id, new_id()))
        assert {(one.user_id, one.role) for one in team} == {(ada.id, "owner"), (bob.id, "member")}
        assert await users.list_admins() == (boss,)


async def test_choices_change_one_by_one_and_nothing_else_does(shop: Shop) -> None:
    ada = await register()
    quiet = users.QuietHours("22:00", "07:00")
    with as_user(ada.id):
        await users.set_preferences(
            ada.id, users.SetPreferences(brands=("Acme",), notifications={"reviews": {"email": True}}, digests={"reviews": "daily"})
        )
        off = users.ChangeNotifications(notifications={"reviews": {"in_app": False}, "wallet": {"email": True}}, quiet_hours=quiet)
        now = await users.change_notifications(ada.id, off)
        assert now.notifications == {"reviews": {"email": True, "in_app": False}, "wallet": {"email": True}}
        assert (now.brands, now.quiet_hours, now.digests) == (("Acme",), quiet, {"reviews": "daily"})
        now = await users.change_notifications(ada.id, users.ChangeNotifications(quiet_hours=None, digests={"reviews": None}))
        assert (now.quiet_hours, now.digests, now.notifications["wallet"]) == (None, {}, {"email": True})
        with pytest.raises(InvalidField):
            await users.change_notifications(ada.id, users.ChangeNotifications(quiet_hours=users.QuietHours("22:00", "22:00")))
        with pytest.raises(NotFound):
            await users.change_notifications(new_id(), off)
        many = {f"topic_{number}": {"email": False} for number in range(50)}
        with pytest.raises(InvalidField):
            await users.change_notifications(ada.id, users.ChangeNotifications(notifications=many))
    assert await db.value("SELECT count(*) FROM users.user_preferences") == 1
