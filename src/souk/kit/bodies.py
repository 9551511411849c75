"""What comes in a body: JSON where JSON is due, read strictly, with no NUL and no card number in it."""

import re
from functools import cache
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler

from souk.kit.cardnumbers import refuse_card_numbers
from souk.kit.errors import InvalidField

METHODS = ("POST", "PUT", "PATCH")
UNICODE_ESCAPE = re.compile(rb"\\u([0-9A-Fa-f]{4})")
# How msgspec says what is wrong, and where: "Object missing required field `sku` - at `$.items[0]`".
MISTAKE = re.compile(r"(?P<reason>.*?(?: field `(?P<field>[^`]*)`)?)(?: - at `\$\.?(?P<path>[^`]*)`)?")


async def inspect_body(request: Request[Any, Any, Any]) -> None:
    """Before any handler: JSON where JSON is due, no NUL in a text, no card number anywhere."""
    if request.method not in METHODS:
        return
    media_type = read_media_type(request.headers.get("content-type", "").encode("latin-1"))
    if media_type and media_type in request.route_handler.opt.get("media_types", ()):
        return
    body = await request.body()
    asked = request.route_handler.parsed_data_field
    if not body and (asked is None or asked.has_default):
        return
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(status_code=415, detail="Send application/json")
    if not body:
        raise ClientException(detail="A JSON body is due")
    inspect_text(body)


def read_media_type(content_type: bytes) -> str:
    """What a Content-Type names, without its parameters."""
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


def inspect_text(body: bytes) -> None:
    """Raise ClientException, InvalidField or CardNumber if a body is no text, has a NUL in it or a card number."""
    try:
        body.decode()
    except UnicodeDecodeError as broken:
        raise ClientException(detail="The body is not UTF-8") from broken
    text = _without_escapes(body)
    if b"\x00" in text:
        raise InvalidField("body", "a text may not contain a NUL character")
    refuse_card_numbers(text)


def _without_escapes(body: bytes) -> bytes:
    r"""The body with each character as itself: what is written as \u0034 is a 4, too."""
    if b"\\u" not in body:
        return body
    return UNICODE_ESCAPE.sub(lambda found: chr(int(found[1], 16)).encode(errors="replace"), body)


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON is read straight into the type that the handler asks for: "1" is no number, 1 is no text."""

    async def json(self) -> Any:
        try:
            return decoder_of(self.route_handler).decode(await self.body())
        except msgspec.ValidationError as mistake:
            raise ValidationException(extra=[_explain(str(mistake))]) from mistake
        except (msgspec.DecodeError, RecursionError) as broken:
            raise ClientException(detail=f"The body is no JSON that we can read: {broken}") from broken


@cache
def decoder_of(handler: BaseRouteHandler) -> msgspec.json.Decoder[Any]:
    """What reads the body of this handler."""
    field = handler.parsed_data_field
    return msgspec.json.Decoder(Any if field is None else field.annotation)


def _explain(mistake: str) -> dict[str, str]:
    found = MISTAKE.fullmatch(mistake)
    if found is None:
        return {"key": "body", "message": mistake}
    return {"key": ".".join(filter(None, (found["path"], found["field"]))) or "body", "message": found["reason"]}
