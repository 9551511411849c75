"""What sellers want on their invoices: their legal name and address, VAT id, the beginning of their numbers, a footer."""

from uuid import UUID

from souk import users
from souk.invoices.database import db
from souk.invoices.types import ProfileFields, SellerProfile
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound

COLUMNS = ", ".join(ProfileFields.__struct_fields__)
FIND = "SELECT * FROM invoices.seller_profile WHERE seller_id = ANY($1)"
SET = f"""
    INSERT INTO invoices.seller_profile (seller_id, {COLUMNS})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (seller_id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in ProfileFields.__struct_fields__)}, updated_at = now()
    RETURNING *
"""


@exposed()
async def get_seller_profile(seller_id: UUID) -> SellerProfile:
    """What stands on the invoices of a seller. Raises NotFound for anybody but its owners and admins, and when nothing was set."""
    await check_owner(seller_id)
    found = await db.maybe(SellerProfile, FIND, [seller_id])
    if found is None:
        raise NotFound
    return found


@exposed()
async def set_seller_profile(seller_id: UUID, fields: ProfileFields) -> SellerProfile:
    """Say what is to stand on the invoices of a seller from now on; again changes nothing. What was issued stays as it is.

    Raises NotFound for anybody but its owners and admins.
    """
    await check_owner(seller_id)
    async with db.transaction() as tx:
        return await tx.one(SellerProfile, SET, seller_id, *(getattr(fields, name) for name in fields.__struct_fields__))


async def find_profiles(seller_ids: list[UUID]) -> dict[UUID, SellerProfile]:
    """The profiles of those of these sellers who have one."""
    return {one.seller_id: one for one in await db.all(SellerProfile, FIND, seller_ids)}


async def check_owner(seller_id: UUID) -> None:
    """Raise NotFound for who does not own this seller; admins may with any that there is."""
    who = caller().principal
    if who.is_admin:
        await users.get_seller(seller_id)
        return
    who.require_user()
    if not who.controls(seller_id):
        raise NotFound
