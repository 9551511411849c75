"""The routes of the post: its book, texts to phones, and the strings that a test pulls there."""

import asyncio
from functools import partial
from typing import Annotated

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Meta, Struct

from souk.sandbox.card_api import After
from souk.sandbox.mail_server import SLOW_S
from souk.sandbox.post_book import (
    FindRequest,
    Taken,
    append_letter,
    count_letters,
    find_latest,
    find_letter,
    find_letters,
    read_letters,
    read_raw,
)
from souk.sandbox.post_habits import Habit, PostMoodRequest
from souk.sandbox.refusals import Refused
from souk.sandbox.requests import JSON, Asking, read_body, show
from souk.sandbox.world import World

Many = Annotated[int, QueryParameter(ge=1, le=10_000)]
NO = {
    Habit.BUSY: Refused(503, "busy", "Too much to do; nothing was done"),
    Habit.LATER: Refused(503, "busy", "Not now; nothing was done"),
    Habit.UNKNOWN_ADDRESS: Refused(422, "recipient_unknown", "No such number or device"),
    Habit.TOO_LARGE: Refused(422, "too_long", "Too long for us"),
    Habit.REFUSED: Refused(422, "content_refused", "We do not like it"),
}


class TextRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text to a phone, or to an app on one."""

    channel: Annotated[str, Meta(pattern=r"^(sms|push)\Z")]
    to: Annotated[str, Meta(min_length=1, max_length=300)]
    text: Annotated[str, Meta(min_length=1, max_length=1_600)]


class ReportRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Have a letter come back, or be called spam."""

    kind: Habit
    form: Annotated[str, Meta(pattern=r"^(mail|webhook)\Z")] = "mail"
    forged: bool = False


@get("/letters")
async def get_letters(world: NamedDependency[World], after: After = 0, limit: Many = 1_000) -> Response[bytes]:
    return show(await world.writer.write(partial(read_letters, after=after, limit=limit)))


@get("/letters/count")
async def get_count(world: NamedDependency[World]) -> Response[bytes]:
    return show(await world.writer.write(count_letters))


@get("/letters/latest")
async def get_latest(world: NamedDependency[World], recipient: FromQuery[str | None] = None) -> Response[bytes]:
    return show(await world.writer.write(partial(find_latest, recipient=recipient)))


@post("/letters/find")
async def post_find(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    """Which of these letters were taken."""
    asked = await read_body(request, FindRequest)
    return show({"ids": await world.writer.write(partial(find_letters, ids=asked.ids))})


@get("/letters/{seq:int}/raw")
async def get_raw(world: NamedDependency[World], seq: FromPath[int]) -> Response[bytes]:
    return Response(await world.writer.write(partial(read_raw, seq=seq)), media_type="message/rfc822")


@post("/texts")
async def post_text(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    """Bring a text to somebody, once for each key."""
    asked = await read_body(request, TextRequest)
    key = request.headers.get("idempotency-key", "")
    if not 1 <= len(key) <= 255:
        raise Refused(422, "idempotency_key_invalid", "An idempotency key has 1 to 255 characters")
    habit = world.post_moods.take(asked.to)
    if world.post_moods.down:
        raise Refused(503, "unavailable", "We are down; nothing was done")
    if habit is Habit.TOO_MANY:
        refused = Refused(429, "too_many", "Slower, please")
        return Response(refused.body(), status_code=429, media_type=JSON, headers={"retry-after": "1"})
    if habit in NO:
        raise NO[habit]
    if habit is Habit.SLOW:
        await world.pause(SLOW_S)
    if habit not in (Habit.TIMEOUT_LOST, Habit.DROP_LOST) and not await world.writer.write(partial(find_letters, ids=(key,))):
        await world.writer.write(partial(append_letter, taken=Taken(key, asked.channel, "", asked.to, asked.text.encode())))
    if habit in (Habit.TIMEOUT_ACCEPTED, Habit.TIMEOUT_LOST, Habit.DROP_ACCEPTED, Habit.DROP_LOST):
        await world.pause(world.settings.timeout_s)
        raise Refused(504, "timeout", "Nobody can say whether it was done")
    return show({"id": key, "status": "accepted"}, 201)


@post("/post")
async def post_mood(request: Asking, world: NamedDependency[World]) -> Response[bytes]:
    world.post_moods.change(await read_body(request, PostMoodRequest))
    return show(world.post_moods.show())


@post("/post/reset")
async def post_mood_reset(world: NamedDependency[World]) -> Response[bytes]:
    world.post_moods.reset()
    return show(world.post_moods.show())


@post("/letters/{letter_id:str}/reports")
async def post_report(request: Asking, world: NamedDependency[World], letter_id: FromPath[str]) -> Response[bytes]:
    """Have a letter be sent back to the shop, or be called spam there."""
    asked = await read_body(request, ReportRequest)
    letter = await world.writer.write(partial(find_letter, letter_id=letter_id))
    raw = await world.writer.write(partial(read_raw, seq=letter.seq))
    answer = await asyncio.shield(world.reporter.tell(asked.kind, letter, raw, form=asked.form, forged=asked.forged))
    return show({"answer": answer})


ROUTES = (get_letters, get_count, get_latest, post_find, get_raw, post_text)
STRINGS = (post_mood, post_mood_reset, post_report)
