"""A sandbox as a real process, a merchant who calls it, and a real receiver of its webhooks."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import aiohttp
import msgspec
import pytest
from tests.ports import find_free_port

import souk.sandbox

SOURCE = Path(souk.sandbox.__file__).parents[2]
API_KEY = "sk_test_of_the_shop"
SECRET = "whsec_" + base64.b64encode(b"the shop and the sandbox share").decode()
SERVE = """
import asyncio, pathlib, sys, msgspec
from souk.sandbox import SandboxSettings, run
told = msgspec.json.decode(sys.argv[1])
settings = msgspec.convert(told["settings"], SandboxSettings, dec_hook=lambda wanted, value: wanted(value))
asyncio.run(run(settings, "127.0.0.1", told["port"]))
"""
# Short enough for a test, far enough apart to tell one from the other.
QUICK = {
    "timeout_s": 0.25,
    "webhook_delay_s": 0.02,
    "webhook_late_s": 0.4,
    "webhook_hold_s": 30.0,
    "webhook_timeout_s": 5.0,
    "webhook_retries_s": [0.05, 0.1, 0.2, 0.4, 0.8, 1.6],
}


class Heard(NamedTuple):
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> dict:
        return json.loads(self.body)

    @property
    def is_genuine(self) -> bool:
        """Verify as the standard says, without the code that signed."""
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        mac = hmac.new(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        return self.headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()


class Listener(ThreadingHTTPServer):
    request_queue_size = 256  # a burst must not lose connections: a lost one is tried again, and heard twice


class Receiver:
    """The shop's door for webhooks: remembers all it hears, and says no as often as it is told to."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.refuse_next = 0
        receiver = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                heard = Heard({name.lower(): value for name, value in self.headers.items()}, body, time.monotonic())
                receiver.heard.append(heard)
                refused = receiver.refuse_next > 0
                receiver.refuse_next -= refused
                self.send_response(401 if not heard.is_genuine else 503 if refused else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = Listener(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def of(self, payment_id: str) -> list[Heard]:
        return [heard for heard in list(self.heard) if heard.event["data"]["id"] == payment_id]

    async def wait_for(self, payment_id: str, count: int, longest_s: float = 20.0) -> list[Heard]:
        until = time.monotonic() + longest_s
        while len(self.of(payment_id)) < count:
            assert time.monotonic() < until, f"{count} webhooks wanted, heard {self.of(payment_id)}"
            await asyncio.sleep(0.01)
        return self.of(payment_id)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Sandbox:
    """One process with a home of its own. Started again on the same home it goes on where it was."""

    def __init__(self, **settings: object) -> None:
        self.settings = {"webhook_secret": SECRET, "api_key": API_KEY, **QUICK, **settings}
        self.home = Path(str(self.settings["home"]))
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True)
        told = json.dumps({"settings": self.settings, "port": self.port})
        with (self.home / "log").open("ab") as log:
            # Its warnings are errors there as they are here.
            arguments = [sys.executable, "-W", "error", "-c", SERVE, told]
            return subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": str(SOURCE)}, stdout=log, stderr=log)

    def start(self) -> "Sandbox":
        self.process = self.spawn()
        until = time.monotonic() + 20
        while not self.answers():
            assert self.process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < until, "the sandbox does not answer"
            time.sleep(0.03)
        return self

    def answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> dict:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        return self.body["error"]["code"]


class Merchant:
    """The shop's side of the sandbox's API."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def get(self, path: str, **headers: str) -> Told:
        return await self.ask("GET", path, None, headers)

    async def post(self, path: str, body: object = None, key: str | None = None, **headers: str) -> Told:
        return await self.ask("POST", path, body, {**headers, **({"idempotency-key": key} if key else {})})

    async def ask(self, method: str, path: str, body: object, headers: dict[str, str]) -> Told:
        sent = {"authorization": f"Bearer {API_KEY}", **headers}
        data = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        url = self.sandbox.url + path
        async with self.session.request(method, url, data=data, headers=sent, allow_redirects=False) as answer:
            return Told(answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.text())

    async def charge(self, token: str, key: str | None = None, **fields: object) -> Told:
        asked = {"amount": 12900, "currency": "USD", "token": token, "reference": f"order-{token}", **fields}
        return await self.post("/v1/charges", asked, key)

    async def checkout(self, **fields: object) -> Told:
        asked = {"amount": 4500, "currency": "EUR", "reference": "order-app", "return_url": "http://shop.test/back?a=1&b=2", **fields}
        return await self.post("/v1/checkouts", asked)

    async def buy_label(self, reference: str, key: str | None = None, **fields: object) -> Told:
        place = {"city": "Leipzig", "postal_code": "04109", "country": "DE"}
        asked = {"reference": reference, "sender": place, "recipient": place | {"city": "Berlin", "postal_code": "10115"},
                 "weight_g": 750, "currency": "EUR", **fields}  # fmt: skip
        return await self.post("/v1/labels", asked, key)

    async def book_of(self, payment_id: str) -> list[tuple[str, int]]:
        items, after = [], 0
        while True:
            page = (await self.get(f"/v1/book?after={after}&limit=1000")).body
            items += page["items"]
            if page["next"] is None:
                return [(item["kind"], item["amount"]) for item in items if item["payment_id"] == payment_id]
            after = page["next"]


@pytest.fixture(scope="session")
def shared_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def receiver(shared_receiver: Receiver) -> Receiver:
    shared_receiver.refuse_next = 0
    return shared_receiver


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, shared_receiver: Receiver) -> Iterator[Sandbox]:
    told = {"webhook_url": shared_receiver.url, "carrier_webhook_url": shared_receiver.url}
    sandbox = Sandbox(home=str(tmp_path_factory.mktemp("sandbox")), **told).start()
    yield sandbox
    assert sandbox.end() == 0


@pytest.fixture
async def merchant(sandbox: Sandbox) -> AsyncIterator[Merchant]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        merchant = Merchant(sandbox, session)
        yield merchant
        await merchant.post("/control/reset")


@pytest.fixture
def start_sandbox(tmp_path: Path, receiver: Receiver) -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox of the test's own, one that it may kill."""
    started: list[Sandbox] = []

    def start(**settings: object) -> Sandbox:
        started.append(
            Sandbox(**{"home": str(tmp_path / "home"), "webhook_url": receiver.url, "carrier_webhook_url": receiver.url, **settings})
        )
        return started[-1].start()

    yield start
    for sandbox in started:
        sandbox.end()


@pytest.fixture
async def visit() -> AsyncIterator[Callable[[Sandbox], Merchant]]:
    """Call a sandbox of the test's own."""
    async with aiohttp.ClientSession() as session:
        yield lambda sandbox: Merchant(sandbox, session)
