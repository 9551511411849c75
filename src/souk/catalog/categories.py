"""The category tree: every category knows the path from the root down to itself."""

from collections.abc import Collection, Sequence
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET

from souk.catalog.database import db
from souk.catalog.events import CategoryChanged
from souk.catalog.types import (
    Category,
    CategoryChange,
    CategoryCircle,
    CategoryInUse,
    CategoryName,
    CategoryNameTaken,
    CategoryTooDeep,
    NewCategory,
    UnknownCategory,
)
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound, Stale
from souk.kit.events import publish
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.kit.ids import new_id

DEEPEST = 20

CATEGORY = "id, name, parent_id, path, version, created_at, updated_at"
# Whoever changes the tree waits for the others: two moves at once could make a circle.
LOCK_TREE = "SELECT pg_advisory_xact_lock(hashtext('catalog.category'))"
FIND_CATEGORY = f"SELECT {CATEGORY} FROM catalog.category WHERE id = $1"
LIST_CATEGORIES = f"""
    SELECT {CATEGORY} FROM catalog.category
    WHERE ($1::uuid IS NULL OR parent_id = $1) AND (name, id) > ($2, $3)
    ORDER BY name, id LIMIT $4
"""
FIND_NAMED = f"""
    SELECT {CATEGORY} FROM catalog.category AS c
    WHERE EXISTS (SELECT FROM unnest($1::uuid[], $2::text[]) AS u (parent_id, name)
                  WHERE u.name = c.name AND u.parent_id IS NOT DISTINCT FROM c.parent_id)
      AND c.name = ANY($2)
    ORDER BY c.id
"""
ADD_CATEGORIES = f"""
    INSERT INTO catalog.category (id, parent_id, name, path)
    SELECT u.id, u.parent_id, u.name, coalesce(p.path, '{{}}') || u.id
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS u (id, parent_id, name)
    LEFT JOIN catalog.category AS p ON p.id = u.parent_id
    RETURNING {CATEGORY}
"""
MEASURE_BRANCH = "SELECT max(cardinality(path)) FROM catalog.category WHERE path @> ARRAY[$1::uuid]"
# What stands below moves along; a new name concerns the category alone.
CHANGE_BRANCH = """
    UPDATE catalog.category
    SET name = CASE WHEN id = $1 THEN $2 ELSE name END, parent_id = CASE WHEN id = $1 THEN $3 ELSE parent_id END,
        path = $4::uuid[] || path[array_position(path, $1):], version = version + 1, updated_at = now()
    WHERE path @> ARRAY[$1::uuid] AND (id = $1 OR $5)
"""
FORGET_CATEGORY = "DELETE FROM catalog.category WHERE id = $1"

FIRST = ("", UUID(int=0))

CategoryPath = tuple[str, ...]


@exposed()
async def list_categories(parent_id: UUID | None, limit: int, cursor: str | None) -> Page[Category]:
    """The whole tree, or what stands directly below a category, by name. Changes nothing."""
    after = read_cursor(cursor, tuple[str, UUID]) or FIRST
    rows = await db.all(Category, LIST_CATEGORIES, parent_id, *after, limit + 1)
    return make_page(rows, limit, lambda category: (category.name, category.id))


@exposed()
async def get_category(category_id: UUID) -> Category:
    """A category; raises NotFound. Changes nothing."""
    found = await db.maybe(Category, FIND_CATEGORY, category_id)
    if found is None:
        raise NotFound
    return found


@exposed()
async def create_category(new: NewCategory) -> Category:
    """Add a category (admins only); the same Idempotency-Key adds it once.

    Raises CategoryNameTaken if there is one of that name in that place, UnknownCategory for the parent, CategoryTooDeep.
    """
    caller().principal.require_admin()

    async def work(tx: Transaction) -> Category:
        await tx.value(LOCK_TREE)
        await require_free(tx, new.parent_id, new.name)
        if new.parent_id is not None and len((await find_parent(tx, new.parent_id)).path) >= DEEPEST:
            raise CategoryTooDeep(DEEPEST)
        (category,) = await add_categories(tx, [(new.parent_id, new.name)])
        return category

    return await once(db, new, work)


@exposed()
async def ensure_category(path: tuple[str, ...]) -> Category:
    """The category at this path of names from the root down; what is missing is added (admins only). Repeating adds nothing more.

    Raises InvalidField for a path that is empty, too deep, or has a name that no category may have.
    """
    caller().principal.require_admin()
    known = await ensure_categories((path,))
    return await get_category(known[path])


@exposed()
async def change_category(category_id: UUID, change: CategoryChange, only_if: tuple[int, ...] | None = None) -> Category:
    """Rename a category, or move it with all that stands below it (admins only), if its version is one of `only_if`.

    What is the same already makes no new version. Raises NotFound, Stale, CategoryNameTaken, UnknownCategory, CategoryCircle,
    CategoryTooDeep.
    """
    caller().principal.require_admin()
    async with db.transaction() as tx:
        await tx.value(LOCK_TREE)
        category = await find_locked(tx, category_id, only_if)
        name = category.name if change.name is UNSET else change.name
        parent_id = category.parent_id if change.parent_id is UNSET else change.parent_id
        if (name, parent_id) != (category.name, category.parent_id):
            above = await find_place(tx, category, parent_id)
            await require_free(tx, parent_id, name)
            await tx.run(CHANGE_BRANCH, category_id, name, parent_id, list(above), list(above) != list(category.path[:-1]))
            await publish(tx, CategoryChanged(category_id))
        return await tx.one(Category, FIND_CATEGORY, category_id)


@exposed()
async def remove_category(category_id: UUID, only_if: tuple[int, ...] | None = None) -> None:
    """Remove a category in which nothing is (admins only). Raises NotFound, also when it is gone already, Stale, CategoryInUse."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        await tx.value(LOCK_TREE)
        await find_locked(tx, category_id, only_if)
        try:
            async with tx.savepoint():
                await tx.run(FORGET_CATEGORY, category_id)
        except asyncpg.ForeignKeyViolationError as used:
            raise CategoryInUse from used
        await publish(tx, CategoryChanged(category_id))


async def ensure_categories(paths: Collection[CategoryPath]) -> dict[CategoryPath, UUID]:
    """The ids of the categories at these paths; what is missing is added, level by level."""
    for path in paths:
        check_path(path)
    known = await find_paths(paths)
    if len(known) == len(set(paths)):
        return known
    async with db.transaction() as tx:
        await tx.value(LOCK_TREE)
        ids: dict[CategoryPath, UUID] = {}
        for depth in range(1, max(len(path) for path in paths) + 1):
            level = sorted({path[:depth] for path in paths if len(path) >= depth})
            places = [(ids.get(path[:-1]), path[-1]) for path in level]
            there = await tx.all(Category, FIND_NAMED, *split(places))
            found = {(category.parent_id, category.name): category.id for category in there}
            missing = [place for place in places if place not in found]
            added = await add_categories(tx, missing)
            found |= {(category.parent_id, category.name): category.id for category in added}
            ids |= {path: found[place] for path, place in zip(level, places, strict=True)}
    return {path: ids[path] for path in paths}


async def find_paths(paths: Collection[CategoryPath]) -> dict[CategoryPath, UUID]:
    """The ids of those of these paths that exist."""
    ids: dict[CategoryPath, UUID] = {}
    for depth in range(1, max((len(path) for path in paths), default=0) + 1):
        level = [path[:depth] for path in set(paths) if len(path) >= depth and (depth == 1 or path[: depth - 1] in ids)]
        there = await db.all(Category, FIND_NAMED, *split([(ids.get(path[:-1]), path[-1]) for path in level]))
        found = {(category.parent_id, category.name): category.id for category in there}
        ids |= {path: found[place] for path in level if (place := (ids.get(path[:-1]), path[-1])) in found}
    return {path: ids[path] for path in paths if path in ids}


async def add_categories(tx: Transaction, places: Sequence[tuple[UUID | None, str]]) -> tuple[Category, ...]:
    """Add categories of these names below these parents, and tell; the tree is locked and the places are free."""
    if not places:
        return ()
    added = await tx.all(Category, ADD_CATEGORIES, [new_id() for _ in places], *split(places))
    await publish(tx, *(CategoryChanged(category.id) for category in added))
    return added


async def find_locked(tx: Transaction, category_id: UUID, only_if: tuple[int, ...] | None) -> Category:
    """The category in the locked tree; raises NotFound and Stale."""
    category = await tx.maybe(Category, FIND_CATEGORY, category_id)
    if category is None:
        raise NotFound
    if only_if is not None and category.version not in only_if:
        raise Stale
    return category


async def find_place(tx: Transaction, category: Category, parent_id: UUID | None) -> tuple[UUID, ...]:
    """The path above a category that is to stand below this parent; raises UnknownCategory, CategoryCircle, CategoryTooDeep."""
    if parent_id is None:
        return ()
    parent = await find_parent(tx, parent_id)
    if category.id in parent.path:
        raise CategoryCircle
    height = await tx.value(MEASURE_BRANCH, category.id) - len(category.path) + 1
    if len(parent.path) + height > DEEPEST:
        raise CategoryTooDeep(DEEPEST)
    return parent.path


async def find_parent(tx: Transaction, parent_id: UUID) -> Category:
    parent = await tx.maybe(Category, FIND_CATEGORY, parent_id)
    if parent is None:
        raise UnknownCategory(str(parent_id))
    return parent


async def require_free(tx: Transaction, parent_id: UUID | None, name: str) -> None:
    """Raises CategoryNameTaken if there is a category of this name in this place."""
    if await tx.all(Category, FIND_NAMED, [parent_id], [name]):
        raise CategoryNameTaken(name)


def split(places: Sequence[tuple[UUID | None, str]]) -> tuple[list[UUID | None], list[str]]:
    return [parent_id for parent_id, _ in places], [name for _, name in places]


def check_path(path: CategoryPath) -> None:
    """Raises InvalidField for a path that no category can have."""
    if not 1 <= len(path) <= DEEPEST:
        raise InvalidField("category", f"is to have 1 to {DEEPEST} levels")
    try:
        msgspec.convert(path, tuple[CategoryName, ...])
    except msgspec.ValidationError as mistake:
        raise InvalidField("category", str(mistake)) from mistake
