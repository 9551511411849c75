"""Pictures, import and export over HTTP: the routes whose bodies are files."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import CacheControlHeader, State, UploadFile
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from souk.catalog import exporting, images, importing, media, pages
from souk.catalog.merging import RowReport
from souk.catalog.rows import ImportRow, UnreadableFile, read_csv, read_ndjson, to_row, to_row_from_csv
from souk.catalog.types import Image, ImageChange
from souk.kit.errors import InvalidField
from souk.kit.http import PUBLIC, SIGNED_IN, Page, or_text, route

PICTURES = ("image/jpeg", "image/png", "image/webp")
MULTIPART = "multipart/form-data"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
LARGEST_PICTURE_BYTES = 8 * 1024 * 1024
LARGEST_IMPORT_BYTES = 1024 * 1024 * 1024

Asked = Request[object, object, State]
Alt = Annotated[str, QueryParameter(max_length=300, pattern=r"^[^\x00]*$", description="What the picture shows, for who cannot see it")]
ForSeller = Annotated[UUID | None, QueryParameter(description="For which seller; needed by who sells for several")]

BINARY = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
FORM = Schema(type=OpenAPIType.OBJECT, properties={"file": BINARY}, required=["file"])


@dataclass
class UploadOperation(Operation):
    """A picture as the body itself, or as the part `file` of a form."""

    def __post_init__(self) -> None:
        content = dict.fromkeys(PICTURES, OpenAPIMediaType(BINARY)) | {MULTIPART: OpenAPIMediaType(FORM)}
        self.request_body = RequestBody(content, required=True)


@dataclass
class ImportOperation(Operation):
    """Rows as NDJSON or CSV."""

    def __post_init__(self) -> None:
        texts = OpenAPIMediaType(Schema(type=OpenAPIType.STRING))
        self.request_body = RequestBody({NDJSON: texts, CSV: texts}, required=True)


@route("GET", "/products/{product_id:uuid}/images", PUBLIC)
async def list_images(product_id: FromPath[UUID]) -> Page[Image]:
    """A product's pictures, the first one first."""
    return Page((await pages.get_product(product_id)).images)


@route(
    "POST", "/products/{product_id:uuid}/images", SIGNED_IN,
    opt={"media_types": (*PICTURES, MULTIPART)}, operation_class=UploadOperation, request_max_body_size=LARGEST_PICTURE_BYTES,
)  # fmt: skip
async def add_image(request: Asked, product_id: FromPath[UUID], alt: Alt = "") -> Image:
    """Add a picture: JPEG, PNG or WebP, as the body itself or as the part `file` of a form. It is written anew as WebP, with thumbnails.

    Send an Idempotency-Key: a repeated request adds it once.
    """
    return await images.add_image(product_id, await read_picture(request), alt)


@route("PATCH", "/products/{product_id:uuid}/images/{image_id:uuid}", SIGNED_IN)
async def change_image(product_id: FromPath[UUID], image_id: FromPath[UUID], data: JSONBody[ImageChange]) -> Image:
    """Change what a picture is said to show, or its place: the lowest position is the first."""
    return await images.change_image(product_id, image_id, data)


@route("DELETE", "/products/{product_id:uuid}/images/{image_id:uuid}", SIGNED_IN)
async def remove_image(product_id: FromPath[UUID], image_id: FromPath[UUID]) -> None:
    """Remove a picture."""
    await images.remove_image(product_id, image_id)


@route(
    "GET", "/media/{name:str}", PUBLIC, media_type="image/webp",
    cache_control=CacheControlHeader(public=True, max_age=31_536_000, immutable=True),
)  # fmt: skip
async def read_media(name: FromPath[str]) -> bytes:
    """The file of a picture. A name never means another picture, so it may be kept for ever."""
    return await media.read_media(name)


@route(
    "POST", "/products/import", SIGNED_IN, status_code=200,
    opt={"media_types": (NDJSON, CSV)}, operation_class=ImportOperation, request_max_body_size=LARGEST_IMPORT_BYTES,
    responses={200: ResponseSpec(RowReport, description="A report per row, one JSON object a line", media_type=NDJSON)},
)  # fmt: skip
async def import_products(request: Asked, seller_id: ForSeller = None) -> Stream:
    """Create and change products, a row per variant, as NDJSON or CSV; the answer is a report per row, as NDJSON.

    Rows are committed 500 at a time: bad ones are listed with the reason, the others land. The same file again changes nothing.
    An `external_id` joins variants to one product. CSV has the same columns; a price stands in `price_USD` and the like, in major
    units, `categories` are joined by `|`, attributes are JSON.
    """
    is_csv = read_media_type(request, (NDJSON, CSV)) == CSV
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  closed by the answer's stream
    try:
        # The whole body first: a client that writes it to the end before it reads would wait for us, and we for it.
        async for chunk in request.stream():
            await asyncio.to_thread(file.write, chunk)
        file.seek(0)
        lines = read_csv(file) if is_csv else read_ndjson(file)
        reports = importing.import_lines(lines, to_row_from_csv if is_csv else to_row, seller_id)
        first = await anext(reports, ())
    except BaseException:
        file.close()
        raise
    return Stream(write_reports(file, first, reports), media_type=NDJSON)


async def write_reports(file: BinaryIO, first: tuple[RowReport, ...], others: AsyncIterator[tuple[RowReport, ...]]) -> AsyncIterator[bytes]:
    """The reports as lines. What ends an import early is its last line."""
    try:
        yield write_lines(first)
        async for reports in others:
            yield write_lines(reports)
    except UnreadableFile as unreadable:
        yield msgspec.json.encode({"result": "stopped", "code": unreadable.code, "reason": str(unreadable)}) + b"\n"
    finally:
        file.close()


def write_lines(reports: tuple[RowReport, ...]) -> bytes:
    return b"".join(msgspec.json.encode(report) + b"\n" for report in reports)


@route(
    "GET", "/products/export", SIGNED_IN, operation_class=or_text(CSV),
    responses={200: ResponseSpec(ImportRow, description="A row per variant: NDJSON, or CSV", media_type=NDJSON)},
)  # fmt: skip
async def export_products(format: FromQuery[Literal["ndjson", "csv"]] = "ndjson", seller_id: ForSeller = None) -> Stream:
    """Your products in every status, all of them for an admin, a row per variant, in the form that an import takes."""
    pages = exporting.export_all(seller_id)
    first = await anext(pages, ())
    write: Callable[[tuple[ImportRow, ...]], bytes] = exporting.write_csv if format == "csv" else exporting.write_ndjson
    header = exporting.write_header() if format == "csv" else b""

    async def write_pages() -> AsyncIterator[bytes]:
        yield header + write(first)
        async for page in pages:
            yield write(page)

    return Stream(write_pages(), media_type=CSV if format == "csv" else NDJSON)


async def read_picture(request: Asked) -> bytes:
    """The picture that was sent; raises InvalidField for a form without one."""
    if read_media_type(request, (*PICTURES, MULTIPART)) != MULTIPART:
        return await request.body()
    part = (await request.form()).get("file")
    if not isinstance(part, UploadFile):
        raise InvalidField("file", "is the part of the form that holds the picture")
    return await part.read()


def read_media_type(request: Asked, accepted: tuple[str, ...]) -> str:
    """What the body is; 415 if it is none of these."""
    media_type = request.content_type[0].lower()
    if media_type not in accepted:
        raise HTTPException(status_code=415, detail=f"Send {', '.join(accepted)}")
    return media_type


routes: tuple[BaseRouteHandler, ...] = (
    list_images,
    add_image,
    change_image,
    remove_image,
    read_media,
    import_products,
    export_products,
)
