"""Take in products row by row: the good ones land, the others are listed with the reason, and the same file again changes nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.catalog import records
from souk.catalog.categories import CategoryPath, check_path, ensure_categories, find_paths
from souk.catalog.columns import ColumnMap
from souk.catalog.database import db
from souk.catalog.merging import Merge, NumberedRow, RowReport
from souk.catalog.records import VariantRow
from souk.catalog.rows import ImportRow, Line, RowRefused, find_format, read_file, to_row, to_row_from_csv
from souk.catalog.sellers import choose_seller
from souk.catalog.types import ExternalIdTaken, SkuTaken
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import InvalidField

ROWS_AT_ONCE = 500
TRIES = 3

# The products that the rows are about, and those that hold one of the SKUs.
FIND_CONCERNED = """
    SELECT id FROM catalog.product WHERE seller_id = $1 AND external_id = ANY($2)
    UNION
    SELECT product_id FROM catalog.variant WHERE sku = ANY($3)
"""


class ImportSummary(msgspec.Struct, frozen=True):
    """What became of a file: rows by result, and refused ones by code."""

    rows: int
    created: int
    updated: int
    unchanged: int
    refused: dict[str, int]


class _Id(msgspec.Struct, frozen=True):
    id: UUID


@exposed(timeout=60.0)
async def import_rows(rows: tuple[NumberedRow, ...], seller_id: UUID | None = None) -> tuple[RowReport, ...]:
    """Write up to 500 rows in one transaction and say of each what became of it; the same rows again change nothing.

    Categories that are missing are added for admins; for others such a row is refused. Raises Forbidden for who sells nothing,
    NotFound for another's seller.
    """
    if len(rows) > ROWS_AT_ONCE:
        raise InvalidField("rows", f"are to be at most {ROWS_AT_ONCE}")
    seller = choose_seller(seller_id)
    places = await find_places({names for one in rows for names in one.row.categories})
    for _ in range(TRIES - 1):
        try:
            return await write_rows(seller, rows, places)
        except (SkuTaken, ExternalIdTaken):
            # Somebody took it between our look and our write: look again.
            continue
    return await write_rows(seller, rows, places)


async def write_rows(seller_id: UUID, rows: Sequence[NumberedRow], places: dict[str, UUID | None]) -> tuple[RowReport, ...]:
    """Merge the rows into what there is, in one transaction."""
    external_ids = [one.row.sku if one.row.external_id is UNSET else one.row.external_id for one in rows]
    async with db.transaction() as tx:
        concerned = await tx.all(_Id, FIND_CONCERNED, seller_id, external_ids, [*external_ids, *(one.row.sku for one in rows)])
        products = await records.lock_products(tx, [row.id for row in concerned])
        variants = await tx.all(VariantRow, records.FIND_VARIANTS_OF, [product.id for product in products])
        merge = Merge(seller_id, products, variants, trusted=caller().principal.is_admin)
        reports = tuple(merge.take(one, places) for one in rows)
        await records.add_products(tx, merge.new_products())
        await records.change_products(tx, merge.changed_products())
        await records.add_variants(tx, merge.new_variants())
        await records.change_variants(tx, merge.changed_variants())
        await records.touch_products(tx, merge.touched_products())
    return reports


async def find_places(names: Collection[str]) -> dict[str, UUID | None]:
    """The categories that rows name, None for those that are not there and may not be added."""
    paths = {one: path for one in names if is_path(path := tuple(part.strip() for part in one.split(">")))}
    ensure = ensure_categories if caller().principal.is_admin else find_paths
    known = await ensure(set(paths.values()))
    return {one: known.get(paths[one]) if one in paths else None for one in names}


def is_path(path: CategoryPath) -> bool:
    """Whether a category may stand there."""
    try:
        check_path(path)
    except InvalidField:
        return False
    return True


async def import_file(file: Path, column_map: ColumnMap | None, seller_id: UUID, report: Callable[[RowReport], None]) -> ImportSummary:
    """Import a CSV, NDJSON or parquet file for a seller, telling of each row; without a map its columns are ours.

    May be stopped at any time and repeated. Raises UnreadableFile, and what import_rows raises for the seller.
    """
    if column_map is None:
        column_map = to_row_from_csv if find_format(file) == "csv" else to_row
    results: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    async for reports in import_lines(read_file(file), column_map, seller_id):
        for one in reports:
            report(one)
            results[one.result] += 1
            if one.code:
                codes[one.code] += 1
    counts = (results.total(), results["created"], results["updated"], results["unchanged"])
    return ImportSummary(*counts, dict(sorted(codes.items())))


async def import_lines(lines: Iterator[Line], column_map: ColumnMap, seller_id: UUID | None) -> AsyncIterator[tuple[RowReport, ...]]:
    """Import lines, 500 at a time; the reports of each portion when it is written."""
    seen = Seen()
    while portion := await asyncio.to_thread(_take, lines, column_map):
        rows = tuple(seen.number(number, row) for number, row in portion if isinstance(row, ImportRow))
        refused = (RowReport(number, "refused", code=row.code, reason=row.reason) for number, row in portion if isinstance(row, RowRefused))
        written = await import_rows(rows, seller_id) if rows else ()
        yield tuple(sorted((*refused, *written), key=lambda report: report.line))


def _take(lines: Iterator[Line], column_map: ColumnMap) -> list[tuple[int, ImportRow | RowRefused]]:
    """The next lines as rows, or why they are none."""
    taken: list[tuple[int, ImportRow | RowRefused]] = []
    for line in islice(lines, ROWS_AT_ONCE):
        try:
            if isinstance(line.cells, RowRefused):
                raise line.cells
            taken.append((line.number, column_map(line.cells)))
        except RowRefused as refused:
            taken.append((line.number, refused))
    return taken


class Seen:
    """Which products and SKUs have come by in a file, as hashes: a million of them fit."""

    def __init__(self) -> None:
        self._products: set[int] = set()
        self._skus: set[int] = set()

    def number(self, line: int, row: ImportRow) -> NumberedRow:
        product = hash(row.sku if row.external_id is UNSET else row.external_id)
        sku = hash(row.sku)
        numbered = NumberedRow(line, row, product not in self._products, sku not in self._skus)
        self._products.add(product)
        self._skus.add(sku)
        return numbered
