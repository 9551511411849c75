"""The category tree grows, moves and never bites its tail."""

import asyncio

import asyncpg
import pytest
from tests.catalog.goods import as_admin, as_seller, create, mug
from tests.conftest import asked_by

from souk.app import Shop
from souk.catalog import categories
from souk.catalog.database import db
from souk.catalog.types import (
    Category,
    CategoryChange,
    CategoryCircle,
    CategoryInUse,
    CategoryNameTaken,
    CategoryTooDeep,
    NewCategory,
    UnknownCategory,
)
from souk.kit.errors import Forbidden, InvalidField, NotFound, Stale
from souk.kit.ids import new_id


async def plant(*path: str) -> Category:
    with as_admin():
        return await categories.ensure_category(path)


async def move(category: Category, parent: Category | None) -> Category:
    with as_admin():
        return await categories.change_category(category.id, CategoryChange(parent_id=parent.id if parent else None))


async def test_a_category_knows_its_path(shop: Shop) -> None:
    kitchen = await plant("Home", "Kitchen")
    home = await plant("Home")
    mugs = await plant("Home", "Kitchen", "Mugs")
    assert kitchen.path == (home.id, kitchen.id)
    assert mugs.path == (home.id, kitchen.id, mugs.id)
    assert (mugs.parent_id, home.parent_id) == (kitchen.id, None)


async def test_what_is_there_is_not_planted_again(shop: Shop) -> None:
    with as_admin():
        planted = await asyncio.gather(*(categories.ensure_category(("Home", "Kitchen", f"Shelf {turn % 3}")) for turn in range(12)))
    assert len({category.id for category in planted}) == 3
    assert await db.value("SELECT count(*) FROM catalog.category") == 5


@pytest.mark.parametrize("path", [(), ("",), ("Home", " Kitchen"), ("A > B",), ("A|B",), ("x" * 101,), ("deep",) * 21])
async def test_paths_that_no_category_has(shop: Shop, path: tuple[str, ...]) -> None:
    with pytest.raises(InvalidField):
        await plant(*path)


async def test_only_admins_garden(shop: Shop) -> None:
    home = await plant("Home")
    with as_seller(), pytest.raises(Forbidden):
        await categories.create_category(NewCategory("Mine"))
    with asked_by("buyer"), pytest.raises(Forbidden):
        await categories.change_category(home.id, CategoryChange("Mine"))
    with asked_by("buyer"), pytest.raises(Forbidden):
        await categories.remove_category(home.id)


async def test_a_branch_moves_with_all_that_is_on_it(shop: Shop) -> None:
    mugs = await plant("Home", "Kitchen", "Mugs")
    kitchen = await plant("Home", "Kitchen")
    outdoor = await plant("Outdoor")
    moved = await move(kitchen, outdoor)
    assert moved.path == (outdoor.id, kitchen.id)
    assert moved.version == 2
    assert (await categories.get_category(mugs.id)).path == (outdoor.id, kitchen.id, mugs.id)
    assert (await move(mugs, None)).path == (mugs.id,)


async def test_a_name_changes_the_category_alone(shop: Shop) -> None:
    mugs = await plant("Home", "Mugs")
    home = await plant("Home")
    with as_admin():
        renamed = await categories.change_category(home.id, CategoryChange("House"), (1,))
        assert (renamed.name, renamed.version) == ("House", 2)
        assert (await categories.change_category(home.id, CategoryChange("House"))).version == 2
        with pytest.raises(Stale):
            await categories.change_category(home.id, CategoryChange("Hut"), (1,))
    assert (await categories.get_category(mugs.id)).version == 1


async def test_no_category_stands_below_itself(shop: Shop) -> None:
    home, kitchen, mugs = await plant("Home"), await plant("Home", "Kitchen"), await plant("Home", "Kitchen", "Mugs")
    for below in (home, kitchen, mugs):
        with pytest.raises(CategoryCircle):
            await move(home, below)


async def test_two_moves_at_once_make_no_circle(shop: Shop) -> None:
    for turn in range(10):
        one, other = await plant(f"One {turn}"), await plant(f"Other {turn}")
        answers = await asyncio.gather(move(one, other), move(other, one), return_exceptions=True)
        assert [type(answer) for answer in answers].count(CategoryCircle) == 1


async def test_the_database_itself_refuses_a_circle(shop: Shop) -> None:
    kitchen, home = await plant("Home", "Kitchen"), await plant("Home")
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.transaction() as tx:
            await tx.run(
                "UPDATE catalog.category SET parent_id = $2, path = path[:1] || $2::uuid || $1::uuid WHERE id = $1", home.id, kitchen.id
            )


async def test_siblings_have_different_names(shop: Shop) -> None:
    home, kitchen = await plant("Home"), await plant("Home", "Kitchen")
    mugs = await plant("Mugs")
    with as_admin():
        for name, parent_id in (("Home", None), ("Kitchen", home.id)):
            with pytest.raises(CategoryNameTaken):
                await categories.create_category(NewCategory(name, parent_id))
        with pytest.raises(CategoryNameTaken):
            await categories.change_category(mugs.id, CategoryChange("Kitchen", home.id))
        await categories.create_category(NewCategory("Mugs", kitchen.id))


async def test_the_tree_has_a_limit(shop: Shop) -> None:
    deep = await plant(*(f"Level {depth}" for depth in range(20)))
    branch = await plant("Branch", "Leaf")
    with as_admin():
        with pytest.raises(CategoryTooDeep):
            await categories.create_category(NewCategory("One more", deep.id))
        with pytest.raises(CategoryTooDeep):
            await categories.change_category(branch.parent_id, CategoryChange(parent_id=deep.parent_id))
        with pytest.raises(UnknownCategory):
            await categories.create_category(NewCategory("Orphan", new_id()))


async def test_only_an_empty_category_is_removed(shop: Shop) -> None:
    home, kitchen = await plant("Home"), await plant("Home", "Kitchen")
    (product,) = await create(mug(category_id=kitchen.id))
    assert product.category == "Kitchen"
    with as_admin():
        for used in (home, kitchen):
            with pytest.raises(CategoryInUse):
                await categories.remove_category(used.id)
        empty = await categories.create_category(NewCategory("Empty"))
        await categories.remove_category(empty.id)
        with pytest.raises(NotFound):
            await categories.remove_category(empty.id)


async def test_the_list_goes_on_where_a_page_ended(shop: Shop) -> None:
    for number in range(5):
        await plant("Home", f"Shelf {number}")
    page = await categories.list_categories(None, 4, None)
    rest = await categories.list_categories(None, 4, page.next)
    assert [category.name for category in (*page.items, *rest.items)] == ["Home", *(f"Shelf {number}" for number in range(5))]
    assert rest.next is None
    home = page.items[0]
    assert len((await categories.list_categories(home.id, 10, None)).items) == 5
