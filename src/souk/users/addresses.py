"""A user's address book."""

from uuid import UUID

from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.users import sessions
from souk.users.changes import given
from souk.users.database import db
from souk.users.profiles import find_user, require_self
from souk.users.types import Address, AddressFields, ChangeAddress, TooManyAddresses

MOST = 50
FIELDS = AddressFields.__struct_fields__

FIND = "SELECT * FROM users.address WHERE user_id = $1 AND id = $2"
LOCK = "SELECT * FROM users.address WHERE user_id = $1 AND id = $2 FOR UPDATE"
LIST = "SELECT * FROM users.address WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3"
COUNT = "SELECT count(*) FROM users.address WHERE user_id = $1"
ADD = """
    INSERT INTO users.address (id, user_id, name, line1, line2, city, region, postal_code, country, phone_number)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *
"""
CHANGE = """
    UPDATE users.address
    SET name = $2, line1 = $3, line2 = $4, city = $5, region = $6, postal_code = $7, country = $8, phone_number = $9, updated_at = now()
    WHERE id = $1 RETURNING *
"""
REMOVE = "DELETE FROM users.address WHERE user_id = $1 AND id = $2"


@exposed()
async def add_address(user_id: UUID, fields: AddressFields) -> Address:
    """Write an address into a user's book; with an Idempotency-Key once. Raises NotFound, TooManyAddresses."""
    require_self(user_id)

    async def add(tx: Transaction) -> Address:
        await sessions.lock_users(tx, [user_id])
        await find_user(tx, user_id)
        if await tx.value(COUNT, user_id) >= MOST:
            raise TooManyAddresses(MOST)
        values = (fields.name, fields.line1, fields.line2, fields.city, fields.region, fields.postal_code)
        return await tx.one(Address, ADD, new_id(), user_id, *values, fields.country, fields.phone_number)

    return await once(db, (user_id, fields), add)


@exposed()
async def list_addresses(user_id: UUID, limit: int, cursor: str | None) -> Page[Address]:
    """A user's addresses, oldest first. Another's are NotFound."""
    require_self(user_id)
    (after,) = read_cursor(cursor, tuple[UUID]) or (UUID(int=0),)
    return make_page(await db.all(Address, LIST, user_id, after, limit + 1), limit, lambda address: (address.id,))


@exposed()
async def get_address(user_id: UUID, address_id: UUID) -> Address:
    """An address out of a user's book. Another's is NotFound."""
    require_self(user_id)
    found = await db.maybe(Address, FIND, user_id, address_id)
    if found is None:
        raise NotFound
    return found


@exposed()
async def change_address(user_id: UUID, address_id: UUID, change: ChangeAddress) -> Address:
    """Change what is given of an address. Another's is NotFound."""
    require_self(user_id)
    async with db.transaction() as tx:
        present = await tx.maybe(Address, LOCK, user_id, address_id)
        if present is None:
            raise NotFound
        now = given(change, FIELDS, present)
        values = (now["name"], now["line1"], now["line2"], now["city"], now["region"], now["postal_code"])
        return await tx.one(Address, CHANGE, address_id, *values, now["country"], now["phone_number"])


@exposed()
async def remove_address(user_id: UUID, address_id: UUID) -> None:
    """Strike an address out of a user's book; orders keep their own copy. Another's, or one that is gone, is NotFound."""
    require_self(user_id)
    async with db.transaction() as tx:
        if not await tx.run(REMOVE, user_id, address_id):
            raise NotFound
