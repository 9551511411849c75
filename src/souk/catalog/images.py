"""The pictures of a product."""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.catalog import media, pictures, records
from souk.catalog.database import db
from souk.catalog.products import lock_product
from souk.catalog.reading import read_products
from souk.catalog.sellers import check_owner
from souk.catalog.types import Image, ImageChange, TooManyImages
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound, Unavailable
from souk.kit.idempotency import once
from souk.kit.ids import new_id

MOST_IMAGES = 50
# Long after the request that writes a file has ended one way or the other.
LOOSE_S = 3600.0

FIND_SELLER = "SELECT seller_id FROM catalog.product WHERE id = $1"
ANNOUNCE_FILE = "INSERT INTO catalog.loose_file (file, remove_at) VALUES ($1, now() + make_interval(secs => $2))"
KEEP_FILE = "DELETE FROM catalog.loose_file WHERE file = $1"
ADD_IMAGE = """
    INSERT INTO catalog.image (id, product_id, file, width, height, alt, position)
    SELECT $1, $2, $3, $4, $5, $6, coalesce(max(position) + 1, 0) FROM catalog.image WHERE product_id = $2
"""
COUNT_IMAGES = "SELECT count(*) FROM catalog.image WHERE product_id = $1"
CHANGE_IMAGE = """
    UPDATE catalog.image SET alt = coalesce($3, alt), position = coalesce($4, position), updated_at = now()
    WHERE product_id = $1 AND id = $2
"""
FORGET_IMAGE = "DELETE FROM catalog.image WHERE product_id = $1 AND id = $2"
FIND_LOOSE_FILES = "SELECT file FROM catalog.loose_file WHERE remove_at < now() ORDER BY remove_at LIMIT $1"
FORGET_FILES = "DELETE FROM catalog.loose_file WHERE file = ANY($1)"

# Two at a time: decoding is what an upload costs, in time and in memory.
_workers = ThreadPoolExecutor(2, thread_name_prefix="pictures")


class _File(msgspec.Struct, frozen=True):
    file: str


@exposed(timeout=30.0)
async def add_image(product_id: UUID, content: bytes, alt: str) -> Image:
    """Add a picture to a product, behind those it has, made anew out of a JPEG, PNG or WebP file.

    The same Idempotency-Key adds it once. Raises NotFound for another's product, NotAPicture, PictureTooLarge, TooManyImages.
    """
    seller_id: UUID | None = await db.value(FIND_SELLER, product_id)
    if seller_id is None:
        raise NotFound
    check_owner(seller_id)
    made = await asyncio.get_running_loop().run_in_executor(_workers, pictures.remake, content)
    file = secrets.token_hex(16)
    async with db.transaction() as tx:
        await tx.run(ANNOUNCE_FILE, file, LOOSE_S)
    storage = media.storage()
    for ending, picture in made.files.items():
        await storage.put(file + ending, picture)

    async def work(tx: Transaction) -> Image:
        await lock_product(tx, product_id)
        if await tx.value(COUNT_IMAGES, product_id) >= MOST_IMAGES:
            raise TooManyImages(MOST_IMAGES)
        if not await tx.run(KEEP_FILE, file):
            raise Unavailable("the file was removed before it was used")
        image_id = new_id()
        await tx.run(ADD_IMAGE, image_id, product_id, file, made.width, made.height, alt)
        await records.touch_products(tx, [product_id])
        return await read_image(tx, product_id, image_id)

    return await once(db, (product_id, hashlib.sha256(content).digest(), alt), work)


@exposed()
async def change_image(product_id: UUID, image_id: UUID, change: ImageChange) -> Image:
    """Change what is said about a picture, or its place among the others. Raises NotFound for another's."""
    async with db.transaction() as tx:
        await lock_product(tx, product_id)
        alt = None if change.alt is UNSET else change.alt
        position = None if change.position is UNSET else change.position
        if not await tx.run(CHANGE_IMAGE, product_id, image_id, alt, position):
            raise NotFound
        await records.touch_products(tx, [product_id])
        return await read_image(tx, product_id, image_id)


@exposed()
async def remove_image(product_id: UUID, image_id: UUID) -> None:
    """Remove a picture and its files. Raises NotFound for another's and when it is gone already."""
    async with db.transaction() as tx:
        await lock_product(tx, product_id)
        await records.drop_files(tx, product_id, image_id)
        if not await tx.run(FORGET_IMAGE, product_id, image_id):
            raise NotFound
        await records.touch_products(tx, [product_id])


async def read_image(tx: Transaction, product_id: UUID, image_id: UUID) -> Image:
    (product,) = await read_products(tx, (product_id,))
    return next(image for image in product.images if image.id == image_id)


async def remove_loose_files(limit: int = 100) -> int:
    """Remove files that no picture refers to any more; how many pictures' files."""
    loose = await db.all(_File, FIND_LOOSE_FILES, limit)
    if not loose:
        return 0
    storage = media.storage()
    for row in loose:
        for ending in (".webp", *(f"-{side}.webp" for side in pictures.THUMBNAILS)):
            await storage.remove(row.file + ending)
    async with db.transaction() as tx:
        await tx.run(FORGET_FILES, [row.file for row in loose])
    return len(loose)
