"""The sandbox's post: letters over SMTP, texts over HTTP, what is in the book, and the bad habits of both."""

import asyncio
import signal
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from aiohttp import web
from tests.ports import find_free_port
from tests.sandbox.conftest import API_KEY, Merchant, Sandbox
from tests.waiting import until

from souk.sandbox.post_habits import Habit, habit_of

Visit = Callable[[Sandbox], Merchant]


@pytest.fixture
def office(start_sandbox: Callable[..., Sandbox]) -> Callable[..., Sandbox]:
    return lambda **settings: start_sandbox(mail_port=find_free_port(), **settings)


@pytest.fixture
def door() -> list[bytes]:
    """What was told at the shop's door for mail."""
    return []


@pytest.fixture
async def door_url(door: list[bytes]) -> AsyncIterator[str]:
    async def hear(request: web.Request) -> web.Response:
        door.append(await request.read())
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/", hear)
    runner = web.AppRunner(application)
    await runner.setup()
    port = find_free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}/"
    await runner.cleanup()


def write(to: str, letter_id: str = "0197a3b0", text: str = "Hello\n.\n..dots\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"], message["Message-ID"] = "shop@x.test", to, "Hi", f"<{letter_id}@x.test>"
    message.set_content(text)
    return message


@pytest.fixture
def speak() -> Iterator[Callable[[Sandbox], smtplib.SMTP]]:
    opened: list[smtplib.SMTP] = []

    def connect(sandbox: Sandbox) -> smtplib.SMTP:
        opened.append(smtplib.SMTP("127.0.0.1", int(str(sandbox.settings["mail_port"])), timeout=60))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


async def test_what_is_taken_is_in_the_book_and_survives_a_kill(
    office: Callable[..., Sandbox], visit: Visit, speak: Callable[[Sandbox], smtplib.SMTP]
) -> None:
    sandbox = office()
    client = speak(sandbox)
    client.ehlo()
    assert client.has_extn("pipelining")
    client.send_message(write("ada@x.test", "a"))
    client.send_message(write("bob@x.test", "b"))
    sandbox.end(signal.SIGKILL)
    sandbox.start()
    merchant = visit(sandbox)
    assert (await merchant.get("/v1/letters/count")).body == {"letters": 2, "different": 2}
    assert (await merchant.post("/v1/letters/find", {"ids": ["a", "c"]})).body == {"ids": ["a"]}
    latest = (await merchant.get("/v1/letters/latest?recipient=ada@x.test")).body
    assert (latest["letter_id"], latest["channel"]) == ("a", "email")
    raw = (await merchant.get(f"/v1/letters/{latest['seq']}/raw")).text
    assert raw.replace("\r\n", "\n").endswith("\n\nHello\n.\n..dots\n")
    assert (await merchant.get("/v1/letters", authorization="Bearer wrong")).status == 401


@pytest.mark.parametrize(
    ("habit", "code", "kept"), [("421", 421, 0), ("451", 451, 0), ("550", 550, 0), ("552", 552, 0), ("554", 554, 0), ("slow", 250, 1)]
)
async def test_an_address_asks_for_a_habit(
    office: Callable[..., Sandbox], visit: Visit, speak: Callable[[Sandbox], smtplib.SMTP], habit: str, code: int, kept: int
) -> None:
    sandbox = office()
    client = speak(sandbox)
    said = 250
    try:
        client.send_message(write(f"ada+{habit}@x.test"))
    except smtplib.SMTPRecipientsRefused as refused:
        said = next(iter(refused.recipients.values()))[0]
    except smtplib.SMTPResponseException as refused:
        said = refused.smtp_code
    assert said == code
    assert (await visit(sandbox).get("/v1/letters/count")).body["letters"] == kept


@pytest.mark.parametrize(("habit", "kept"), [("timeout_accepted", 1), ("timeout_lost", 0), ("drop_accepted", 1), ("drop_lost", 0)])
async def test_nobody_is_told(
    office: Callable[..., Sandbox], visit: Visit, speak: Callable[[Sandbox], smtplib.SMTP], habit: str, kept: int
) -> None:
    sandbox = office()
    client, to = speak(sandbox), f"ada+{habit}@x.test"
    client.ehlo()
    assert (client.mail("shop@x.test")[0], client.rcpt(to)[0], client.docmd("DATA")[0]) == (250, 250, 354)
    # Only from here on silence is what is wanted: a machine that has too much to do may keep us waiting for each word before.
    assert client.sock is not None
    client.sock.settimeout(0.5)
    client.send(write(to).as_bytes(policy=SMTP) + b".\r\n")
    with pytest.raises((smtplib.SMTPServerDisconnected, TimeoutError)):
        client.getreply()

    async def is_kept() -> bool:
        return (await visit(sandbox).get("/v1/letters/count")).body["letters"] == kept

    await until(is_kept)


async def test_habits_are_imposed_and_forgotten(
    office: Callable[..., Sandbox], visit: Visit, speak: Callable[[Sandbox], smtplib.SMTP]
) -> None:
    sandbox = office()
    merchant = visit(sandbox)
    await merchant.post("/control/post", {"next": "451", "count": 2})
    client = speak(sandbox)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.send_message(write("ada@x.test"))
    client.send_message(write("ada@x.test"))
    await merchant.post("/control/post", {"down": True})
    with pytest.raises(smtplib.SMTPException):
        speak(sandbox)
    await merchant.post("/control/post/reset")
    speak(sandbox).send_message(write("ada@x.test"))


async def test_letters_are_encrypted_where_that_is_wanted(office: Callable[..., Sandbox], speak: Callable[[Sandbox], smtplib.SMTP]) -> None:
    sandbox = office(mail_security="starttls")
    client = speak(sandbox)
    with pytest.raises(smtplib.SMTPException):
        client.send_message(write("ada@x.test"))
    client.starttls(context=ssl.create_default_context(cafile=str(Path(str(sandbox.settings["home"])) / "mail.pem")))
    client.login("anybody", API_KEY)
    client.send_message(write("ada@x.test"))


async def test_a_text_is_brought_once_for_each_key(office: Callable[..., Sandbox], visit: Visit) -> None:
    sandbox = office(timeout_s=0.2)
    merchant = visit(sandbox)
    asked = {"channel": "sms", "to": "+49301234", "text": "Hello"}
    for _ in range(2):
        assert (await merchant.post("/v1/texts", asked, "one")).status == 201
    assert (await merchant.get("/v1/letters/count")).body == {"letters": 1, "different": 1}
    expected = {"429": 429, "421": 503, "451": 503, "550": 422, "552": 422, "554": 422}
    for tag, status in expected.items():
        told = await merchant.post("/v1/texts", {**asked, "to": f"+49301{tag}"}, f"key-{tag}")
        assert (told.status, told.headers.get("retry-after")) == (status, "1" if tag == "429" else None)
    await merchant.post("/control/post", {"next": "timeout_accepted"})
    assert (await merchant.post("/v1/texts", asked, "silent")).status == 504
    assert (await merchant.post("/v1/letters/find", {"ids": ["silent", "one", "key-550"]})).body["ids"] == ["one", "silent"]


async def test_a_thousand_letters_over_eight_connections(
    office: Callable[..., Sandbox], visit: Visit, speak: Callable[[Sandbox], smtplib.SMTP]
) -> None:
    sandbox = office()

    def send(number: int) -> None:
        client = speak(sandbox)
        for place in range(125):
            client.send_message(write("ada@x.test", f"{number}-{place}"))

    await asyncio.gather(*(asyncio.to_thread(send, number) for number in range(8)))
    assert (await visit(sandbox).get("/v1/letters/count")).body == {"letters": 1000, "different": 1000}


@pytest.mark.parametrize(("habit", "kind"), [("bounces", b"message/delivery-status"), ("complains", b"message/feedback-report")])
async def test_what_comes_back_is_told(
    office: Callable[..., Sandbox], speak: Callable[[Sandbox], smtplib.SMTP], door: list[bytes], door_url: str, habit: str, kind: bytes
) -> None:
    sandbox = office(mail_webhook_url=door_url)
    speak(sandbox).send_message(write(f"ada+{habit}@x.test", f"came-back-{habit}"))

    async def told() -> bool:
        return any(kind in body and f"came-back-{habit}".encode() in body for body in door)

    await until(told)


def test_every_other_address_is_honest() -> None:
    assert habit_of("ada@example.com") is habit_of("+4930123") is habit_of("ada+news@example.com") is Habit.OK
