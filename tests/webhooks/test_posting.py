"""Nothing is posted into the shop's own network, whatever the address says and whoever answers for its name; and no answer does harm."""

import datetime
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.ports import find_free_port
from tests.webhooks.outside import Outside

from souk.webhooks import posting
from souk.webhooks.posting import Addresses, NotPublic, Post, make_public_socket, open_post, read_retry_after
from souk.webhooks.settings import Settings

GUARDED = Settings(connect_s=0.3, timeout_s=1.0, in_flight=8)
OPEN = Settings(allow_private=True, timeout_s=2.0)
# Nobody's, but nothing says so: what is posted there is lost.
PUBLIC = (socket.AF_INET6, "2a00:ffff::1")
LOOPBACK = (socket.AF_INET, "127.0.0.1")
MAPPED = (socket.AF_INET6, "::ffff:127.0.0.1")
METADATA = (socket.AF_INET, "169.254.169.254")

LITERALS = (
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "0", "0.0.0.0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::127.0.0.1]", "localhost", "LOCALHOST", "localhost.", "127.0.0.1.",
    "user@127.0.0.1", "example.com@127.0.0.1",
)  # fmt: skip


class Names:
    """Answers for names, another time otherwise."""

    def __init__(self, *answers: Addresses) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Addresses:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def guarded(*answers: Addresses) -> AsyncIterator[tuple[Post, Names]]:
    names = Names(*answers)
    async with open_post(GUARDED, names) as post:
        yield post, names


@pytest.mark.parametrize("host", LITERALS)
async def test_no_way_of_writing_it_leads_home(outside: Outside, host: str) -> None:
    async with open_post(GUARDED) as post:
        outcome = await post.send(f"http://{host}:{urlsplit(outside.base).port}/a", b"{}", {})
    assert outcome.status is None
    assert outcome.error in ("not_public", "unknown_host", "bad_address")
    assert outside.heard == {}


@pytest.mark.parametrize("answer", [[LOOPBACK], [PUBLIC, LOOPBACK], [LOOPBACK, PUBLIC], [MAPPED], [METADATA]])
async def test_a_name_that_leads_home_among_others_leads_nowhere(outside: Outside, answer: Addresses) -> None:
    async with guarded(answer) as (post, names):
        outcome = await post.send(f"http://hooks.example:{urlsplit(outside.base).port}/a", b"{}", {})
    assert (outcome.status, outcome.error) == (None, "not_public")
    assert names.asked == ["hooks.example"]
    assert outside.heard == {}


async def test_a_name_that_answers_otherwise_the_second_time_is_asked_once(outside: Outside) -> None:
    url = f"http://hooks.example:{urlsplit(outside.base).port}/a"
    async with guarded([PUBLIC], [LOOPBACK]) as (post, names):
        first = await post.send(url, b"{}", {})
        assert names.asked == ["hooks.example"]
        assert first.error in ("not_connected", "timeout")
        second = await post.send(url, b"{}", {})
    assert second.error == "not_public"
    assert names.asked == ["hooks.example"] * 2
    assert outside.heard == {}


def test_no_socket_is_made_for_an_address_at_home() -> None:
    with pytest.raises(NotPublic):
        make_public_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    make_public_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2a00:ffff::1", 443, 0, 0))).close()


async def test_a_name_that_nobody_knows() -> None:
    def deny(host: str, port: int) -> Addresses:
        raise socket.gaierror(socket.EAI_NONAME, "the name server of our network said so")

    async with open_post(GUARDED, deny) as post:
        outcome = await post.send("https://hooks.example/", b"{}", {})
    assert (outcome.error, outcome.answer) == ("unknown_host", "")


async def test_no_proxy_no_cookies_no_redirects_nothing_unpacked(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, outside.url("/proxy"))
    bomb = gzip.compress(b"x" * 10_000_000)

    async def answer(_: web.Request) -> web.Response:
        headers = {"Set-Cookie": "a=b; Path=/", "Location": outside.url("/b"), "Content-Encoding": "gzip"}
        return web.Response(status=302, body=bomb, headers=headers)

    outside.answers["/a"] = answer
    async with open_post(OPEN) as post:
        outcomes = [await post.send(outside.url("/a"), b"{}", {"webhook-id": "1"}) for _ in range(2)]
    assert [one.status for one in outcomes] == [302, 302]
    assert all(0 < len(one.answer) <= posting.ANSWER_BYTES for one in outcomes)
    assert outside.heard.keys() == {"/a"}
    first, second = outside.heard["/a"]
    assert "cookie" not in second.headers
    assert first.headers["user-agent"] == "Souk-Webhooks/1"


async def test_nobody_listens() -> None:
    async with open_post(OPEN) as post:
        outcome = await post.send(f"http://127.0.0.1:{find_free_port()}/", b"{}", {})
    assert outcome.error == "not_connected"


async def test_no_answer_in_time(outside: Outside) -> None:
    outside.hang("/a")
    async with open_post(Settings(allow_private=True, timeout_s=0.2)) as post:
        outcome = await post.send(outside.url("/a"), b"{}", {})
    assert outcome.error == "timeout"
    assert outcome.duration_ms >= 200


@asynccontextmanager
async def listening_with(certificate: ssl.SSLContext) -> AsyncIterator[tuple[int, list[str]]]:
    """A server with TLS, and the names by which it is asked for."""
    asked: list[str] = []
    certificate.sni_callback = lambda _connection, name, _context: asked.append(name or "")
    server, port = web.Application(), find_free_port()

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    server.router.add_post("/", answer)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=certificate).start()
    try:
        yield port, asked
    finally:
        await runner.cleanup()


def make_certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server of this name, and for a client that trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context()
    client.load_verify_locations(cadata=made.public_bytes(Encoding.PEM).decode())
    return server, client


@pytest.mark.parametrize(
    ("name", "trusted", "status"), [("hooks.test", True, 200), ("other.test", True, None), ("hooks.test", False, None)]
)
async def test_the_certificate_is_of_the_name_although_the_address_is_pinned(
    tmp_path: Path, name: str, trusted: bool, status: int | None
) -> None:
    server, client = make_certificate(tmp_path, "hooks.test")
    async with listening_with(server) as (port, asked), open_post(OPEN, Names([LOOPBACK]), client if trusted else True) as post:
        outcome = await post.send(f"https://{name}:{port}/", b"{}", {})
    assert outcome.status == status
    assert outcome.error == (None if status else "tls")
    assert asked == [name]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0), ("120", 120), ("-5", 0), ("1e9", 0), ("9" * 400, 0), ("soon", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("²", 0),
        ("Wed, 21 Oct 2035 07:28:00 +9999999999999", 0), ("Wed, 21 Oct 2035 07:28:00 +9999", 0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", 0),
    ],
)
def test_how_long_they_want_to_be_left_alone(text: str, seconds: int) -> None:
    assert read_retry_after(text) == seconds


def test_until_when_they_want_to_be_left_alone() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    assert 3500 < read_retry_after(later.strftime("%a, %d %b %Y %H:%M:%S GMT")) <= 3600


@pytest.mark.parametrize("make", [aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError])
def test_every_failure_has_a_name(make: Callable[[], BaseException]) -> None:
    assert posting.name_failure(make()) == "broken_off"
