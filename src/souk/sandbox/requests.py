"""What every request of a merchant passes: the door that is shut or slow, the key of the merchant, and the reading of a body."""

import hmac
from typing import TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State

from souk.sandbox.behaviours import Behaviour, Operated
from souk.sandbox.calls import Answer, Call, fingerprint
from souk.sandbox.refusals import Refused
from souk.sandbox.world import World

S = TypeVar("S", bound=msgspec.Struct)
Asking = Request[None, None, State]
JSON = "application/json"


async def pass_door(world: World) -> None:
    if world.moods.latency_ms:
        await world.pause(world.moods.latency_ms / 1000)
    if world.moods.down:
        raise Refused(503, "unavailable", "We are down; nothing was done")


def check_merchant(world: World, request: Asking) -> None:
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {world.settings.api_key}".encode()):
        raise Refused(401, "api_key_invalid", "The API key is missing or wrong")


async def read_body(request: Asking, wanted: type[S]) -> S:
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=wanted)
    except msgspec.ValidationError as invalid:
        raise Refused(422, "invalid", str(invalid)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "malformed", "The body is no JSON") from None


def open_call(request: Asking, operated: Operated, asked: msgspec.Struct, habit: Behaviour = Behaviour.OK) -> Call:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 255:
        raise Refused(422, "idempotency_key_invalid", "An idempotency key has 1 to 255 characters")
    return Call(operated, key, fingerprint(request.method, request.url.path, asked), habit)


def pay_url(world: World, request: Asking) -> str:
    return f"{(world.settings.public_url or str(request.base_url)).rstrip('/')}/pay/"


def tell(answer: Answer) -> Response[bytes]:
    headers = {"idempotent-replayed": "true"} if answer.replayed else {}
    return Response(answer.body, status_code=answer.status, media_type=JSON, headers=headers)


def show(shown: object, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(shown), status_code=status, media_type=JSON)
