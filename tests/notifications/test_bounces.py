"""Letters that come back or are called spam: heard of over HTTP, believed if the report can only come from where the letter went."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest
from tests.notifications.conftest import Post
from tests.notifications.feeds import Web, as_system, make_people, serve
from tests.notifications.mails import intend, rows
from tests.sandbox.conftest import SECRET

from souk import users
from souk.app import Shop
from souk.kit.http import write_cursor
from souk.kit.ids import new_id
from souk.notifications import sending
from souk.notifications.database import db
from souk.notifications.sealing import find_envelope, is_sealed, write_envelope_sender
from souk.notifications.suppressions import list_suppressions
from souk.sandbox.post_book import Letter
from souk.sandbox.post_habits import Habit
from souk.sandbox.post_reports import make_bounce, make_complaint, sign_headers

MAIL = {"content-type": "message/rfc822"}


@pytest.fixture
async def web(shop: Shop, post: Post) -> AsyncIterator[Web]:
    post.use()
    db.owner = 4711
    async with serve() as web:
        yield web


async def tell(web: Web, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    async with web.session.post(f"{web.url}/notifications/webhooks/mail", data=body, headers=headers) as answer:
        return answer.status, str((await answer.json()).get("status"))


async def send_one(post: Post, kind: str = "order_shipped") -> tuple[UUID, Letter, bytes]:
    """A letter to somebody, as it lies in the book."""
    (person,) = await make_people()
    await intend([person], kind)
    await send()
    row = (await post.letters())[-1]
    letter = Letter(**row)  # type: ignore[arg-type]
    return person, letter, await post.read_raw(letter.seq)


async def send() -> None:
    with as_system():
        await sending.send_due("email")


async def suppressed() -> list[str]:
    with as_system():
        return [one.reason for one in await list_suppressions(None, 100, None)]


async def test_nothing_is_sent_to_an_address_that_a_letter_came_back_from(web: Web, post: Post) -> None:
    person, letter, raw = await send_one(post)
    for _ in range(2):
        assert await tell(web, make_bounce(letter, raw), MAIL) == (200, "applied")
    assert await suppressed() == ["bounced"]
    await intend([person], "reset_password", content={})
    await send()
    assert [(row.status, row.reason) for row in (await rows()).values()][-1] == ("suppressed", "address_bounced")


async def test_who_calls_it_spam_is_told_only_what_must_be_told(web: Web, post: Post) -> None:
    person, letter, raw = await send_one(post)
    assert await tell(web, make_complaint(letter, raw), MAIL) == (200, "applied")
    await intend([person], "order_shipped")
    await intend([person], "reset_password", content={})
    await send()
    assert [(row.status, row.reason) for row in (await rows()).values()][1:] == [("suppressed", "address_complained"), ("sent", None)]


@pytest.mark.parametrize("kind", ["mail.bounced", "mail.complained"])
async def test_a_provider_that_signs_is_believed(web: Web, post: Post, kind: str) -> None:
    _, letter, _ = await send_one(post)
    body = b'{"type": "%s", "data": {"message_id": "<%s@x>", "recipient": "%s", "permanent": true}}' % tuple(
        one.encode() for one in (kind, letter.letter_id, letter.recipient)
    )
    assert (await tell(web, body, sign_headers(SECRET, "evt", body, forged=True)))[0] == 401
    assert (await tell(web, body + b" ", sign_headers(SECRET, "evt", body, forged=False)))[0] == 401
    assert (await tell(web, body, {"content-type": "application/json"}))[0] == 401
    assert await suppressed() == []
    assert await tell(web, body, sign_headers(SECRET, "evt", body, forged=False)) == (200, "applied")
    assert await suppressed() == [kind.removeprefix("mail.")]


@pytest.mark.parametrize("make", [make_bounce, make_complaint])
async def test_what_anybody_could_have_written_is_not_believed(web: Web, post: Post, make: object) -> None:
    _, letter, raw = await send_one(post)
    _, other, _ = await send_one(post)
    sender = letter.sender
    swapped = sender.replace(UUID(letter.letter_id).hex, UUID(other.letter_id).hex)
    guessed = [
        make(letter, raw, forged=True),  # type: ignore[operator]
        make(letter, raw).replace(sender.encode(), swapped.encode()),  # type: ignore[operator]
        make(letter, raw).replace(sender.encode(), (sender[:-30] + ("1" if sender[-30] == "0" else "0") + sender[-29:]).encode()),  # type: ignore[operator]
        # Who got a letter says that another address does not exist.
        make(letter, raw).replace(letter.recipient.encode(), other.recipient.encode()),  # type: ignore[operator]
        b"", b"nonsense", raw, b"\xff\xfe" * 100, sender.encode(),
    ]  # fmt: skip
    for body in guessed:
        assert await tell(web, body, MAIL) in ((200, "ignored"), (400, "400"))
    assert await suppressed() == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"5.1.1", b"4.2.2"), (b"5.1.1", b"5.2.2"), (b"5.1.1", b"5.7.1"), (b"5.1.1", b"5.0.0"), (b"5.1.1", b"5.1.8"),
        (b"failed", b"delayed"),
    ],
)  # fmt: skip
async def test_what_may_be_there_tomorrow_is_not_left_alone(web: Web, post: Post, was: bytes, becomes: bytes) -> None:
    _, letter, raw = await send_one(post)
    assert await tell(web, make_bounce(letter, raw).replace(was, becomes), MAIL) == (200, "ignored")
    assert await suppressed() == []


async def test_an_address_that_was_changed_meanwhile_is_not_blamed(web: Web, post: Post) -> None:
    person, letter, raw = await send_one(post)
    await db.pool.execute("UPDATE users.users SET email = 'new@x.test' WHERE id = $1", person)
    assert await tell(web, make_bounce(letter, raw), MAIL) == (200, "ignored")


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize(("make", "field"), [(make_bounce, b"Final-Recipient"), (make_complaint, b"Original-Rcpt-To")])
async def test_who_takes_a_strangers_address_after_a_letter_cannot_have_it_blamed(
    web: Web, post: Post, make: Callable[..., bytes], field: bytes, moved: bool
) -> None:
    person, letter, raw = await send_one(post)
    if moved:
        await db.pool.execute("UPDATE users.users SET email = 'stranger@x.test' WHERE id = $1", person)
    anonymous = re.sub(field + rb":[^\r\n]*\r?\n", b"", make(letter, raw), flags=re.IGNORECASE)
    assert field.lower() not in anonymous.lower()
    told = [anonymous, make(letter, raw).replace(letter.recipient.encode(), b"stranger@x.test")]
    for body in told[: None if moved else 1]:
        assert await tell(web, body, MAIL) == (200, "ignored" if moved else "applied")
    assert len(await suppressed()) == (not moved)


async def test_admins_see_and_change_what_gets_nothing(web: Web, post: Post) -> None:
    (person,) = await make_people()
    path, admin = "/notifications/suppressions", web.admin_token()
    assert (await web.ask("GET", path))[0] == 401
    assert (await web.ask("GET", path, person))[0] == 403
    with as_system():
        (contact,) = await users.get_contacts((person,))
    for address in (contact.email, contact.email.upper(), "bob@x.test"):
        assert (await web.ask("POST", path, None, {"address": address}, **admin))[0] == 204
    assert contact.email not in str(await db.pool.fetch("SELECT * FROM notifications.suppression"))
    first = await ask_for_list(web, f"{path}?limit=1")
    second = await ask_for_list(web, f"{path}?limit=1&cursor={first['next']}")
    assert second["next"] is None
    mine = (await ask_for_list(web, f"{path}?address={contact.email}"))["items"]
    assert mine[0] in (first["items"] + second["items"])
    assert (await web.ask("DELETE", f"{path}/{mine[0]['id']}", person))[0] == 403
    for forged in ("0", "z" * 64, "a" * 63):
        assert (await web.ask("DELETE", f"{path}/{forged}", **admin))[0] == 422
    assert (await web.ask("GET", f"{path}?cursor={write_cursor(('2026-01-01T00:00:00Z', 7))}", **admin))[0] == 422
    assert len(await suppressed()) == 2
    assert (await web.ask("DELETE", f"{path}/{mine[0]['id']}", **admin))[0] == 204
    assert (await ask_for_list(web, f"{path}?address={contact.email}"))["items"] == []


async def ask_for_list(web: Web, path: str) -> dict[str, Any]:
    status, answer = await web.ask("GET", path, **web.admin_token())
    assert status == 200
    assert isinstance(answer, dict)
    return answer


def test_a_report_of_each_kind_is_told_apart() -> None:
    letter_id = new_id()
    envelope = find_envelope(f"To: {write_envelope_sender(letter_id, 'ada@x.test').upper()}")
    assert envelope is not None
    assert envelope.letter_id == letter_id
    assert (is_sealed(envelope, "Ada@x.test"), is_sealed(envelope, "bob@x.test")) == (True, False)
    assert Habit("bounces") is Habit.BOUNCES
