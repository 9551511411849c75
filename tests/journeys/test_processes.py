"""A process ends well when it is told to, says what is wrong when it cannot begin, and gets over the loss of its database."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import pytest
from tests.journeys.client import PASSWORD, Client
from tests.journeys.conftest import make_databases
from tests.journeys.processes import Keys, Processes
from tests.ports import find_free_port
from tests.waiting import until

from souk import app
from souk.kit.postgres import EmbeddedPostgres

SOUK = [sys.executable, "-m", "souk"]
COUNT_LOOPS = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7301 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Line:
    """The line to the database, which can be cut: TCP on this side, the server's socket on the other."""

    def __init__(self, dsn: str) -> None:
        address = urlsplit(dsn)
        query = parse_qs(address.query)
        self.port = find_free_port()
        self.dsn = f"postgresql://souk@127.0.0.1:{self.port}{address.path}"
        self._server = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._open: list[socket.socket] = []

    def mend(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._open = [listener]
        Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(self._server)
                self._open += [here, there]
                for source, target in ((here, there), (there, here)):
                    Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def own_dsn(postgres: EmbeddedPostgres) -> str:
    return make_databases(postgres, "journey_alone")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alone")


@pytest.fixture
def line(own_dsn: str) -> Iterator[Line]:
    line = Line(own_dsn)
    line.mend()
    yield line
    line.cut()


@pytest.fixture
def alone(line: Line, folder: Path) -> Iterator[Processes]:
    """A shop of this module's own in one process."""
    processes = Processes(folder, dict.fromkeys(app.CONTEXTS, line.dsn), Keys(), "", wire=False)
    processes.start()
    yield processes
    process = processes.processes["all"]
    if process.runs:
        process.kill()


@pytest.fixture
async def visitor(alone: Processes) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, alone.url)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_what_is_in_flight_is_answered_before_a_process_ends(alone: Processes, visitor: Client, how: signal.Signals) -> None:
    body = b'{"email": "in-flight-%d@buyers.example", "password": "%s"}' % (how, PASSWORD.encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.public["all"])
    head = b"POST /auth/register HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + body[:10])
    quick = [asyncio.create_task(visitor.get("/products")) for _ in range(10)]
    await asyncio.sleep(0.2)
    alone.processes["all"].send(how)
    await asyncio.sleep(0.3)
    writer.write(body[10:])
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 201 ")
    assert {(await answer).status for answer in quick} == {200}
    assert await asyncio.to_thread(alone.processes["all"].wait) == 0
    writer.close()


async def test_a_client_that_never_finishes_does_not_keep_a_process_alive(alone: Processes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", alone.public["all"])
    writer.write(b"POST /auth/register HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\n{")
    await asyncio.sleep(0.2)
    alone.processes["all"].send(signal.SIGTERM)
    assert await asyncio.to_thread(alone.processes["all"].wait) == 0
    writer.close()


@pytest.fixture
async def admin(own_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that goes past the line."""
    connection = await asyncpg.connect(own_dsn)
    yield connection
    await connection.close()


async def test_a_process_gets_over_the_loss_of_its_database(
    alone: Processes, visitor: Client, line: Line, admin: asyncpg.Connection
) -> None:
    async def loops_run(at_least: int) -> bool:
        return bool(await admin.fetchval(COUNT_LOOPS) >= at_least)

    async def none_runs() -> bool:
        return not await loops_run(1)

    await visitor.register()
    await until(lambda: loops_run(20))

    line.cut()
    answer = await visitor.get("/health/ready")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert (await visitor.get("/health/live")).status == 200
    for path in ("/auth/me", "/products", "/carts/01890a5d-ac96-774b-bcce-b302099a8057"):
        answer = await visitor.get(path)
        assert (answer.status, answer.code) == (503, "unavailable"), path
    await until(none_runs)

    line.mend()
    await visitor.until("/health/ready", lambda answer: answer.status == 200)
    assert (await visitor.get("/auth/me")).status == 200
    assert (await visitor.register()).user["roles"] == ["buyer"]
    await until(lambda: loops_run(20))
    assert "background_work_failed" not in alone.processes["all"].tail(1000)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run([*SOUK, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def environment_of(tmp_path: Path, dsn: str, **more: str) -> dict[str, str]:
    processes = Processes(tmp_path, dict.fromkeys(app.CONTEXTS, dsn), Keys(), "", wire=False)
    return processes.environment | {"DATABASE_URL": dsn} | more


def test_a_port_that_is_taken_is_one_clear_sentence(tmp_path: Path, own_dsn: str, taken_port: int) -> None:
    for option in ("--port", "--internal-port"):
        code, told = run(environment_of(tmp_path, own_dsn, SOUK_PORT=str(find_free_port())), "serve", "all", option, str(taken_port))
        assert code == 1
        assert told == f"Error: Port {taken_port} on 127.0.0.1 cannot be used (Address already in use); choose another with {option}\n"


def test_a_database_that_is_unreachable_is_one_clear_sentence(tmp_path: Path) -> None:
    gone = f"postgresql://souk@127.0.0.1:{find_free_port()}/souk"
    code, told = run(environment_of(tmp_path, gone), "serve", "all", "--port", str(find_free_port()))
    assert (code, told.count("\n"), "Traceback" in told) == (1, 1, False), told
    assert told.startswith("Error: The database cannot be used: ")


def test_everything_that_is_wrong_with_the_settings_is_listed_at_once(tmp_path: Path) -> None:
    environment = environment_of(
        tmp_path, "", SOUK_PORT="x", SOUK_USERS_ATTEMPTS="0", SOUK_INTERNAL_SECRETS="short", SOUK_PEER_USERS="http://x"
    )
    code, told = run(environment, "serve", "orders", "payments")
    assert (code, "Traceback" in told) == (1, False)
    for named in (
        "SOUK_PORT",
        "SOUK_USERS_ATTEMPTS",
        "SOUK_INTERNAL_SECRETS",
        "SOUK_DATABASE_ORDERS",
        "SOUK_DATABASE_PAYMENTS",
        "SOUK_PEER_CATALOG",
    ):
        assert named in told


def test_a_context_that_does_not_exist_is_named(tmp_path: Path) -> None:
    code, told = run(environment_of(tmp_path, ""), "serve", "ordes")
    assert (code, "ordes: no such context" in told) == (2, True)
