"""A seller's team comes and goes, and always has an owner."""

import asyncio

import pytest
from tests.users.people import as_system, as_user, read_token, register

from souk import users
from souk.app import Shop
from souk.kit.errors import NotFound, Unauthenticated
from souk.kit.ids import new_id


class Team:
    """Ada's approved seller, and Bob."""

    ada: users.Registered
    bob: users.Registered
    seller: users.Seller


@pytest.fixture
async def team(shop: Shop) -> Team:
    made = Team()
    made.ada, made.bob = await register("ada"), await register("bob")
    with as_user(made.ada.id):
        made.seller = await users.apply_as_seller(users.SellerFields("Engines"))
    with as_system():
        await users.approve_seller(made.seller.id)
    return made


async def sellers_of(user: users.Registered) -> tuple[object, ...]:
    """What the next token of this user carries."""
    tokens = await users.refresh_session(users.Refresh(user.refresh_token))
    return (await read_token(tokens.access_token)).seller_ids


async def test_a_member_sells_from_the_next_token_on_until_they_are_taken_out(team: Team) -> None:
    with as_user(team.ada.id):
        added = await users.add_member(team.seller.id, users.AddMember(team.bob.id))
        assert (added.user_id, added.role) == (team.bob.id, "member")
        with pytest.raises(users.AlreadyMember):
            await users.add_member(team.seller.id, users.AddMember(team.bob.id, "owner"))
    with pytest.raises(Unauthenticated):
        await read_token(team.bob.access_token)
    tokens = await users.refresh_session(users.Refresh(team.bob.refresh_token))
    assert (await read_token(tokens.access_token)).seller_ids == (team.seller.id,)
    with as_user(team.ada.id):
        await users.remove_member(team.seller.id, team.bob.id)
    with pytest.raises(Unauthenticated):
        await read_token(tokens.access_token)
    tokens = await users.refresh_session(users.Refresh(tokens.refresh_token))
    assert (await read_token(tokens.access_token)).seller_ids == ()


async def test_a_token_says_which_sellers_one_owns_and_is_void_when_that_changes(team: Team) -> None:
    with as_user(team.bob.id):
        other = await users.apply_as_seller(users.SellerFields("Looms"))
    with as_system():
        await users.approve_seller(other.id)
    with as_user(team.ada.id):
        await users.add_member(team.seller.id, users.AddMember(team.bob.id))
    tokens = await users.refresh_session(users.Refresh(team.bob.refresh_token))
    bob = await read_token(tokens.access_token)
    assert (set(bob.seller_ids), bob.owned_seller_ids) == ({team.seller.id, other.id}, (other.id,))
    assert (bob.controls(other.id), bob.controls(team.seller.id), bob.manages(team.seller.id)) == (True, False, True)
    for role, owned in (("owner", {team.seller.id, other.id}), ("member", {other.id})):
        with as_user(team.ada.id):
            await users.change_member(team.seller.id, team.bob.id, users.ChangeMember(role))
        with pytest.raises(Unauthenticated):
            await read_token(tokens.access_token)
        tokens = await users.refresh_session(users.Refresh(tokens.refresh_token))
        assert set((await read_token(tokens.access_token)).owned_seller_ids) == owned


async def test_only_owners_change_the_team_and_only_the_team_sees_it(team: Team) -> None:
    eve = await register("eve")
    with as_user(team.ada.id):
        await users.add_member(team.seller.id, users.AddMember(team.bob.id))
    with as_user(team.bob.id):
        assert {one.user_id for one in (await users.list_members(team.seller.id, 20, None)).items} == {team.ada.id, team.bob.id}
    for outsider in (team.bob.id, eve.id):
        with as_user(outsider, "buyer", "seller"):
            with pytest.raises(NotFound):
                await users.add_member(team.seller.id, users.AddMember(eve.id, "owner"))
            with pytest.raises(NotFound):
                await users.change_member(team.seller.id, outsider, users.ChangeMember("owner"))
            with pytest.raises(NotFound):
                await users.remove_member(team.seller.id, team.ada.id)
    with as_user(eve.id), pytest.raises(NotFound):
        await users.list_members(team.seller.id, 20, None)
    assert await sellers_of(eve) == ()


async def test_who_does_not_exist_does_not_join(team: Team) -> None:
    with as_user(team.ada.id):
        with pytest.raises(NotFound):
            await users.add_member(team.seller.id, users.AddMember(new_id()))
        with pytest.raises(NotFound):
            await users.change_member(team.seller.id, new_id(), users.ChangeMember("member"))
        with pytest.raises(NotFound):
            await users.remove_member(team.seller.id, team.bob.id)


async def test_a_member_may_leave_and_an_owner_may_hand_over(team: Team) -> None:
    with as_user(team.ada.id):
        await users.add_member(team.seller.id, users.AddMember(team.bob.id))
        with pytest.raises(users.LastOwner):
            await users.remove_member(team.seller.id, team.ada.id)
        with pytest.raises(users.LastOwner):
            await users.change_member(team.seller.id, team.ada.id, users.ChangeMember("member"))
        assert (await users.change_member(team.seller.id, team.bob.id, users.ChangeMember("owner"))).role == "owner"
        await users.remove_member(team.seller.id, team.ada.id)
    with as_user(team.bob.id), pytest.raises(users.LastOwner):
        await users.remove_member(team.seller.id, team.bob.id)
    assert await sellers_of(team.ada) == ()


async def test_two_owners_who_leave_at_once_do_not_leave_it_without_one(team: Team) -> None:
    with as_user(team.ada.id):
        await users.add_member(team.seller.id, users.AddMember(team.bob.id, "owner"))

    async def leave(user: users.Registered) -> None:
        with as_user(user.id):
            await users.remove_member(team.seller.id, user.id)

    answers = await asyncio.gather(leave(team.ada), leave(team.bob), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["LastOwner", "NoneType"]
