"""What stands on a seller's invoices is said by who owns the seller."""

import msgspec
import pytest
from tests.conftest import asked_by
from tests.orders.market import as_system, make_seller
from tests.payments.bank import owner_of

from souk import invoices
from souk.app import Shop
from souk.kit.errors import NotFound, Unauthenticated
from souk.kit.ids import new_id

FIELDS = invoices.ProfileFields(legal_name="Mugs GmbH", line1="Hafen 1", city="Berlin", postal_code="10115", country="DE", footer="HRB 1")


async def test_owners_and_admins_say_what_stands_there(shop: Shop) -> None:
    seller_id = await make_seller()
    with as_system():
        with pytest.raises(NotFound):
            await invoices.get_seller_profile(seller_id)
        first = await invoices.set_seller_profile(seller_id, FIELDS)
    with owner_of(seller_id):
        assert await invoices.get_seller_profile(seller_id) == first
        changed = await invoices.set_seller_profile(seller_id, msgspec.structs.replace(FIELDS, prefix="MUGS", footer=None))
        assert (changed.prefix, changed.footer, changed.legal_name, changed.created_at) == ("MUGS", None, "Mugs GmbH", first.created_at)
    for sells_for in ((seller_id,), ()):  # a member of the team, and a stranger
        with asked_by("buyer", sells_for=sells_for):
            with pytest.raises(NotFound):
                await invoices.get_seller_profile(seller_id)
            with pytest.raises(NotFound):
                await invoices.set_seller_profile(seller_id, FIELDS)
    with pytest.raises(Unauthenticated):
        await invoices.get_seller_profile(seller_id)


async def test_nobody_describes_a_seller_who_is_not_there(shop: Shop) -> None:
    with as_system(), pytest.raises(NotFound):
        await invoices.set_seller_profile(new_id(), FIELDS)


@pytest.mark.parametrize(
    "wrong", [{"prefix": "no-dash"}, {"prefix": "CN"}, {"country": "Germany"}, {"vat_id": "?"}, {"legal_name": "two\nlines"}]
)
def test_what_is_no_profile(wrong: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(FIELDS) | wrong, invoices.ProfileFields)
