"""Column maps: how the rows of files that were made elsewhere become ours."""

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal

import msgspec

from souk.catalog.rows import ImportRow, RowRefused, to_row

ColumnMap = Callable[[Mapping[str, object]], ImportRow]

# What is put before a name: (Renewed), [4 Pack].
NOTES = re.compile(r"^\W*(?:(?:\([^)]*\)|\[[^\]]*\])\s*)+")
WORD = re.compile(r"\w[\w&'.’-]*|&")  # noqa: RUF001  the apostrophe of print
PAISE = Decimal(100)


class AmazonProduct(msgspec.Struct, frozen=True):
    """A row of a catalogue scraped from Amazon.in: one per product and sub-category."""

    asin: str
    name: str
    main_category: str
    sub_category: str
    discount_price_inr: float | None
    actual_price_inr: float | None
    rating: float | None
    rating_count: int | None


def from_amazon_in(cells: Mapping[str, object]) -> ImportRow:
    """The asin is SKU and external id, the discounted price the price, the first words of the name the brand.

    A row without any price is refused. The pictures are not ours to show.
    """
    try:
        given = msgspec.convert(cells, AmazonProduct)
    except msgspec.ValidationError as mistake:
        raise RowRefused("invalid", str(mistake)) from mistake
    rupees = given.discount_price_inr if given.discount_price_inr is not None else given.actual_price_inr
    if rupees is None:
        raise RowRefused("no_price", "The row has no price")
    row: dict[str, object] = {
        "sku": given.asin,
        "external_id": given.asin,
        "name": given.name.strip(),
        "categories": [f"{given.main_category.strip()} > {given.sub_category.strip()}"],
        "prices": [{"amount": to_paise(rupees), "currency": "INR"}],
    }
    if brand := find_brand(given.name):
        row["brand"] = brand
    if given.actual_price_inr is not None:
        row["attributes"] = {"list_price_inr": given.actual_price_inr}
    if given.rating is not None and given.rating_count:
        row |= {"rating_average": given.rating, "rating_count": given.rating_count}
    return to_row(row)


def to_paise(rupees: float) -> int:
    """The price in whole paise, halves up: the file's floats are meant as decimals."""
    return int((Decimal(str(rupees)) * PAISE).quantize(Decimal(1), ROUND_HALF_UP))


def find_brand(name: str) -> str | None:
    """The first word of a name after its notes: "LG". A short word is only the beginning of a brand: "Red Tape", "THE CLOWNFISH"."""
    words = WORD.findall(NOTES.sub("", name))[:2] or WORD.findall(name)[:2]
    if len(words) == 2 and is_beginning(words[0]) and words[1].isalpha() and words[1][0].isupper():
        return f"{words[0]} {words[1]}"
    return words[0] if words else None


def is_beginning(word: str) -> bool:
    """Whether a brand goes on after this word: after "Red" and "The", not after initials such as "JBL", "HP" and "3M"."""
    return len(word) <= 3 and (word.lower() == "the" or len(word) == 1 or not word.isupper())


COLUMN_MAPS: dict[str, ColumnMap] = {"amazon-in": from_amazon_in}
