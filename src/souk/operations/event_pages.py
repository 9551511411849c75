"""The events of the shop for those who listen to them: the AsyncAPI document, and a page of it without a script."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape

import msgspec
from litestar import MediaType, Response
from litestar.handlers import BaseRouteHandler

from souk.kit.contracts import Schema, describe_all_events
from souk.kit.http import PUBLIC, route

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #767676;padding:.25rem .5rem;text-align:left}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#9cf}}"
)
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@route("GET", "/asyncapi.json", PUBLIC, include_in_schema=False)
async def get_asyncapi() -> Response[bytes]:
    """What the shop announces, in AsyncAPI 3.0."""
    return Response(write_asyncapi(), media_type="application/vnd.aai.asyncapi+json")


@route("GET", "/docs/events", PUBLIC, include_in_schema=False)
async def show_events() -> Response[str]:
    """The same to read."""
    return Response(write_page(), media_type=MediaType.HTML, headers={"Content-Security-Policy": POLICY})


@cache
def write_asyncapi() -> bytes:
    return msgspec.json.encode(describe_all_events())


@cache
def write_page() -> str:
    document = describe_all_events()
    links = ", ".join(f'<a href="#{context}">{context}</a>' for context in document["channels"])
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title><style>{STYLE}</style></head>'
        f'<body><main><h1>{escape(info["title"])}</h1><p>{escape(info["description"])}</p>'
        f'<p><a href="/asyncapi.json">AsyncAPI 3.0</a>. {links}</p>'
        f"{''.join(_write_channel(name, channel, document) for name, channel in document['channels'].items())}</main></body></html>"
    )


def _write_channel(name: str, channel: Schema, document: Schema) -> str:
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    shown = [f'<h2 id="{name}">{name}</h2><p>{escape(channel["description"])}</p>']
    for place in messages[_name_in(channel["messages"]["events"])]["payload"]["items"]["oneOf"]:
        event = schemas[_name_in(place)]
        fields = schemas[_name_in(event["properties"]["data"])]
        shown.append(f'<h3 id="{_name_in(place)}">{event["title"]}</h3><p>{escape(fields["description"])}</p>')
        shown.append(_write_fields(fields, schemas))
    return "".join(shown)


def _write_fields(struct: Schema, schemas: Schema) -> str:
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td>{_write_type(field, schemas)}</td>"
        f"<td>{'' if name in struct['required'] else 'may be missing'}</td></tr>"
        for name, field in struct["properties"].items()
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("field", "type", ""))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _write_type(field: Schema, schemas: Schema) -> str:
    if "$ref" in field:
        return _write_fields(schemas[_name_in(field)], schemas)
    if "anyOf" in field:
        return " or ".join(_write_type(one, schemas) for one in field["anyOf"])
    if "items" in field:
        return f"list of {_write_type(field['items'], schemas)}"
    if "enum" in field:
        return escape(", ".join(map(str, field["enum"])))
    return escape(str(field.get("format") or field.get("type", "any")))


def _name_in(place: Schema) -> str:
    return str(place["$ref"]).rpartition("/")[2]


routes: tuple[BaseRouteHandler, ...] = (get_asyncapi, show_events)
