"""Tax rates by country, region and category of goods, as an admin keeps them."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import InvalidField, NotFound
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.pricing.database import db
from souk.pricing.taxes import normalise_region
from souk.pricing.types import NewTaxRate, TaxRate, TaxRateChanges, TaxRateExists

COLUMNS = "id, country, region, tax_category, name, rate_ppm, zero_reason, created_at, updated_at"
ADD = f"""
    INSERT INTO pricing.tax_rate (id, country, region, tax_category, name, rate_ppm, zero_reason)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (country, region, tax_category) DO NOTHING
    RETURNING {COLUMNS}
"""
SET = f"""
    INSERT INTO pricing.tax_rate AS t (id, country, region, tax_category, name, rate_ppm, zero_reason)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[])
        AS u (id, country, region, tax_category, name, rate_ppm, zero_reason)
    ORDER BY u.country, u.region, u.tax_category
    ON CONFLICT (country, region, tax_category)
    DO UPDATE SET name = excluded.name, rate_ppm = excluded.rate_ppm, zero_reason = excluded.zero_reason, updated_at = now()
    RETURNING {COLUMNS}
"""
CHANGE = f"""
    UPDATE pricing.tax_rate SET name = $2, rate_ppm = $3, zero_reason = $4, updated_at = now() WHERE id = $1 RETURNING {COLUMNS}
"""
FIND = f"SELECT {COLUMNS} FROM pricing.tax_rate WHERE id = $1"
LOCK = f"{FIND} FOR UPDATE"
LIST = f"SELECT {COLUMNS} FROM pricing.tax_rate WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2"
REMOVE = "DELETE FROM pricing.tax_rate WHERE id = $1"


@exposed()
async def set_tax_rates(new: tuple[NewTaxRate, ...]) -> tuple[TaxRate, ...]:
    """Write many rates at once; one that is there already is changed, so repeating changes nothing. For admins and the seed.

    Raises InvalidField.
    """
    caller().principal.require_admin()
    rows = list({(rate.country, rate.region, rate.tax_category): rate for rate in map(check_rate, new)}.values())
    names = ("country", "region", "tax_category", "name", "rate_ppm", "zero_reason")
    async with db.transaction() as tx:
        return await tx.all(TaxRate, SET, [new_id() for _ in rows], *columns(rows, *names))


@exposed()
async def create_tax_rate(new: NewTaxRate) -> TaxRate:
    """Write a rate for a place and a category. Repeating with the same Idempotency-Key gives the first one.

    Raises TaxRateExists, InvalidField, Forbidden for all but admins.
    """
    caller().principal.require_admin()
    rate = check_rate(new)

    async def work(tx: Transaction) -> TaxRate:
        made = await tx.maybe(
            TaxRate, ADD, new_id(), rate.country, rate.region, rate.tax_category, rate.name, rate.rate_ppm, rate.zero_reason
        )
        if made is None:
            raise TaxRateExists
        return made

    return await once(db, new, work)


@exposed()
async def list_tax_rates(after: UUID | None, limit: int) -> tuple[TaxRate, ...]:
    """All rates, the oldest first. Changes nothing; raises Forbidden for all but admins."""
    caller().principal.require_admin()
    return await db.all(TaxRate, LIST, after, limit)


@exposed()
async def get_tax_rate(tax_rate_id: UUID) -> TaxRate:
    """The rate. Changes nothing; raises NotFound, and Forbidden for all but admins."""
    caller().principal.require_admin()
    return must_exist(await db.maybe(TaxRate, FIND, tax_rate_id))


@exposed()
async def change_tax_rate(tax_rate_id: UUID, changes: TaxRateChanges) -> TaxRate:
    """Change what is given; placed orders keep their tax. Raises NotFound, InvalidField, and Forbidden for all but admins."""
    caller().principal.require_admin()
    given = {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not msgspec.UNSET}
    async with db.transaction() as tx:
        new = msgspec.structs.replace(must_exist(await tx.maybe(TaxRate, LOCK, tax_rate_id)), **given)
        check_zero(new.rate_ppm, new.zero_reason)
        return await tx.one(TaxRate, CHANGE, tax_rate_id, new.name, new.rate_ppm, new.zero_reason)


@exposed()
async def remove_tax_rate(tax_rate_id: UUID) -> None:
    """Remove a rate; placed orders keep their tax. Raises NotFound, also the second time, and Forbidden for all but admins."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        if not await tx.run(REMOVE, tax_rate_id):
            raise NotFound


def must_exist(found: TaxRate | None) -> TaxRate:
    if found is None:
        raise NotFound
    return found


def check_rate(new: NewTaxRate) -> NewTaxRate:
    """The rate as it is kept; raises InvalidField."""
    check_zero(new.rate_ppm, new.zero_reason)
    return msgspec.structs.replace(new, region=normalise_region(new.region))


def check_zero(rate_ppm: int, zero_reason: str | None) -> None:
    """Raise InvalidField for a zero without a reason, or a reason without a zero."""
    if (rate_ppm == 0) != (zero_reason is not None):
        raise InvalidField("zero_reason", "belongs to a rate of zero, and only to that")
