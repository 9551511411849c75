"""What the rest of the shop says of the SKUs in carts: what they are called, what they cost, how many there are."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

import msgspec

from souk import catalog, inventory
from souk.kit.money import Money

# As many SKUs as the catalogue answers at once.
SKUS_AT_ONCE = 500


class Offers(msgspec.Struct, frozen=True):
    """Variants by SKU, and how many pieces of each their seller has."""

    variants: dict[str, catalog.Variant]
    pieces: dict[tuple[str, UUID], int]

    def price_of(self, sku: str, currency: str) -> Money | None:
        """What a piece costs, if it can be bought in this currency now."""
        variant = self.variants.get(sku)
        if variant is None or not variant.active:
            return None
        return next((price for price in variant.prices if price.currency == currency), None)

    def has(self, sku: str, seller_id: UUID, quantity: int) -> bool:
        """Whether the seller has so many pieces."""
        return self.pieces.get((sku, seller_id), 0) >= quantity


async def find_offers(skus: Iterable[str]) -> Offers:
    """What there is to know of these SKUs, asked for all at once."""
    wanted = sorted(set(skus))
    parts = [tuple(wanted[start : start + SKUS_AT_ONCE]) for start in range(0, len(wanted), SKUS_AT_ONCE)]
    variants, stock = await asyncio.gather(
        asyncio.gather(*(catalog.get_variants(part) for part in parts)),
        asyncio.gather(*(inventory.get_availability(part) for part in parts)),
    )
    return Offers(
        {variant.sku: variant for part in variants for variant in part},
        {(one.sku, one.seller_id): one.available for part in stock for one in part},
    )


def name_of(variant: catalog.Variant) -> str:
    """What a line is called."""
    return f"{variant.product_name}, {variant.name}" if variant.name else variant.product_name
