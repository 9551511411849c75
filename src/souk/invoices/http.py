"""Invoices, credit notes and what sellers want on them over HTTP."""

from typing import Annotated, cast
from uuid import UUID

from litestar import Request, Response
from litestar.datastructures import ResponseHeader, State
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from souk import invoices
from souk.invoices.types import Invoice, InvoiceFile, ProfileFields, SellerProfile
from souk.kit.http import GUEST_OR_USER, SIGNED_IN, Cursor, Limit, Page, route

PDF = "application/pdf"
ETAG = (ResponseHeader(name="ETag", description="Of the file: it changes with the template only", documentation_only=True),)
UNCHANGED = {304: ResponseSpec(None, description="You have this file")}

Asked = Request[object, object, State]
Year = Annotated[int | None, QueryParameter(ge=2000, le=9998, description="Only documents of this year")]
IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match", max_length=400, description="ETags of files that you have")]


@route("GET", "/orders/{order_id:uuid}/invoices", GUEST_OR_USER, responses=UNCHANGED)
async def list_invoices_of_order(
    request: Asked, order_id: FromPath[UUID], if_none_match: IfNoneMatch = None
) -> Response[Page[Invoice] | bytes]:
    """The invoices and credit notes of an order, the oldest first: your own, or those of your seller account.

    With `Accept: application/pdf` it is the file, if there is exactly one document.
    """
    found = await invoices.list_invoices_of_order(order_id)
    if len(found) == 1 and request.headers.get("accept", "").split(",")[0].split(";")[0].strip() == PDF:
        file = await invoices.read_invoice_file(found[0].id, if_none_match)
        return cast("Response[Page[Invoice] | bytes]", send(file))
    return Response(Page(found))


@route("GET", "/invoices/{invoice_id:uuid}", GUEST_OR_USER)
async def get_invoice(invoice_id: FromPath[UUID]) -> Invoice:
    """An invoice or a credit note, with all that stands on it."""
    return await invoices.get_invoice(invoice_id)


@route("GET", "/invoices/{invoice_id:uuid}/pdf", GUEST_OR_USER, media_type=PDF, response_headers=ETAG, responses=UNCHANGED)
async def read_invoice_file(invoice_id: FromPath[UUID], if_none_match: IfNoneMatch = None) -> Response[bytes]:
    """An invoice or a credit note as PDF: the same bytes each time."""
    return send(await invoices.read_invoice_file(invoice_id, if_none_match))


@route("GET", "/sellers/{seller_id:uuid}/invoices", SIGNED_IN)
async def list_invoices_of_seller(seller_id: FromPath[UUID], year: Year = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Invoice]:
    """The invoices and credit notes of your seller account, the oldest first."""
    return await invoices.list_invoices_of_seller(seller_id, year, limit, cursor)


@route("GET", "/sellers/{seller_id:uuid}/invoice-profile", SIGNED_IN)
async def get_seller_profile(seller_id: FromPath[UUID]) -> SellerProfile:
    """What stands on the invoices of a seller whom you own."""
    return await invoices.get_seller_profile(seller_id)


@route("PUT", "/sellers/{seller_id:uuid}/invoice-profile", SIGNED_IN)
async def set_seller_profile(seller_id: FromPath[UUID], data: JSONBody[ProfileFields]) -> SellerProfile:
    """Say what is to stand on the invoices of a seller whom you own, from now on."""
    return await invoices.set_seller_profile(seller_id, data)


def send(file: InvoiceFile) -> Response[bytes]:
    """The file, or that the client has it."""
    headers = {"ETag": file.etag, "Content-Disposition": f'inline; filename="{file.name}"'}
    if file.content is None:
        return Response(b"", status_code=304, media_type=PDF, headers=headers)
    return Response(file.content, media_type=PDF, headers=headers)


routes: tuple[BaseRouteHandler, ...] = (
    list_invoices_of_order,
    get_invoice,
    read_invoice_file,
    list_invoices_of_seller,
    get_seller_profile,
    set_seller_profile,
)
