"""The API's documentation pages, with nothing loaded from anywhere else."""

from functools import cache
from importlib import resources
from typing import Annotated

import msgspec
from litestar import Litestar, MediaType, Request, Response
from litestar.datastructures import CacheControlHeader, State
from litestar.handlers import BaseRouteHandler
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.params import Parameter

from souk.kit.errors import NotFound
from souk.kit.http import PUBLIC, route

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui-standalone-preset.js": "text/javascript",
    "swagger-ui.css": MediaType.CSS,
}

# The pages start from a script and styles within themselves; everything else comes from this shop.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)

swagger_pages = SwaggerRenderPlugin(
    path="/",
    favicon="<link rel='icon' href='data:,'>",
    js_url="/docs/assets/swagger-ui-bundle.js",
    css_url="/docs/assets/swagger-ui.css",
    standalone_preset_js_url="/docs/assets/swagger-ui-standalone-preset.js",
)


@route("GET", "/docs/assets/{name:str}", PUBLIC, include_in_schema=False, cache_control=CacheControlHeader(public=True, max_age=86400))
async def get_docs_asset(name: Annotated[str, Parameter(max_length=100)]) -> Response[bytes]:
    """A file of the documentation pages; every browser of today reads gzip."""
    if name not in ASSETS:
        raise NotFound
    return Response(read_asset(name), media_type=ASSETS[name], headers={"Content-Encoding": "gzip"})


@route("GET", "/openapi.json", PUBLIC, include_in_schema=False)
async def get_openapi(request: Request[object, object, State]) -> Response[bytes]:
    """What the API is, in OpenAPI 3.1."""
    return Response(write_openapi(request.app), media_type="application/vnd.oai.openapi+json")


@cache
def write_openapi(app: Litestar) -> bytes:
    return msgspec.json.encode(mend_arrays(app.openapi_schema.to_schema()))


def mend_arrays(schema: object) -> object:
    """Litestar describes `tuple[X, ...]` as an array of X or of the ellipsis; that is any value, and no array of X passes as one of two."""
    if isinstance(schema, list):
        return [mend_arrays(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {name: mend_arrays(one) for name, one in schema.items()}
    items = mended.get("items")
    if isinstance(items, dict) and len(items.get("oneOf", ())) == 2 and {} in items["oneOf"]:
        mended["items"] = next(one for one in items["oneOf"] if one)
    return mended


@cache
def read_asset(name: str) -> bytes:
    return resources.files("souk.operations.swagger_ui").joinpath(f"{name}.gz").read_bytes()


routes: tuple[BaseRouteHandler, ...] = (get_docs_asset, get_openapi)
