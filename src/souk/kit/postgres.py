"""The embedded PostgreSQL of a small shop: one real server under SOUK_HOME that starts and ends with the program."""

import atexit
import contextlib
import fcntl
import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from souk.kit import postgres_binaries, postgres_cluster
from souk.kit.postgres_binaries import PostgresUnavailable
from souk.kit.postgres_cluster import DATABASE, PORT, ROLE, Cluster, Server

__all__ = ["EmbeddedPostgres", "PostgresUnavailable", "database", "start"]

_SOCKET_PATH_LIMIT = 100  # the system's own limit is 107 bytes on Linux, 103 on macOS
_OTHERS_START_TIMEOUT_S = 600.0
_POLL_S = 0.02

_guard = threading.RLock()
_owned: dict[Path, "EmbeddedPostgres"] = {}


def _silent(_line: str) -> None:
    pass


def start(home: Path, report: Callable[[str], None] = _silent, settings: Mapping[str, str] | None = None) -> "EmbeddedPostgres":
    """Answer a PostgreSQL 18 that takes connections and keeps its data in `home`/postgres, for the role and database souk.

    The first start of a home unpacks the server and creates the data. When a server for this home runs already, in this
    process or another one, that one is answered, with the settings it has, and it ends with the process that started it.
    It listens on a Unix socket only, and whoever can enter the socket's folder is trusted.
    It ends with this process, on Linux also when that is killed; a forked child may use the dsn, but does not own the server.

    `report` is told what is being done when that takes time. `settings` override those of the server.
    Raises PostgresUnavailable.
    """
    home = home.expanduser().resolve()
    with _guard:
        known = _owned.get(home)
        if known is not None and known.is_running:
            return EmbeddedPostgres(known.socket_folder)
        if known is not None:
            known.stop()
        try:
            return _start_or_join(home, report, settings or {})
        except PermissionError as error:
            raise PostgresUnavailable(
                f"This user has no right to use {error.filename or home}: choose a SOUK_HOME that belongs to the user who runs souk."
            ) from error
        except OSError as error:
            raise PostgresUnavailable(f"PostgreSQL cannot be set up in {home}: {error.strerror or error} ({error.filename})") from error


class EmbeddedPostgres:
    """A running server; made by `start`."""

    def __init__(self, socket_folder: Path, server: Server | None = None, ownership: "_Ownership | None" = None) -> None:
        self.socket_folder = socket_folder
        self._server = server
        self._ownership = ownership
        self._owner_pid = os.getpid()

    @property
    def is_owner(self) -> bool:
        """True when `stop` ends the server: this object started it, in this process."""
        return self._server is not None and self._owner_pid == os.getpid()

    @property
    def is_running(self) -> bool:
        """True while the server takes connections, or at least has not ended."""
        if self._server is not None and self.is_owner:
            return self._server.is_running
        return _answers(self.socket_folder)

    def dsn(self, database: str = DATABASE) -> str:
        """Answer the URL of a database of this server, for asyncpg."""
        return f"postgresql://{ROLE}@/{quote(database, safe='')}?host={quote(str(self.socket_folder), safe='')}&port={PORT}"

    def stop(self) -> None:
        """End the server if this object started it, and return when it has ended; may be called again."""
        with _guard:
            if self._server is None or self._ownership is None or not self.is_owner:
                return
            self._server.end()
            self._server = None
            _owned.pop(self._ownership.home, None)
            if not self.socket_folder.is_relative_to(self._ownership.home):
                with contextlib.suppress(OSError):
                    self.socket_folder.rmdir()
            self._ownership.release()
            atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class _Ownership:
    """The right to run the server of a home: a lock on a file, which the kernel takes back from a process that ends.

    The file tells the others where the socket is, once the server is ready.
    A POSIX lock, because a flock would be inherited by forked children and outlive the process that took it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._file = os.open(home / "postgres" / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def take(self) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        os.ftruncate(self._file, 0)
        return True

    def announce(self, socket_folder: Path) -> None:
        os.pwrite(self._file, os.fsencode(socket_folder) + b"\n", 0)

    def announced(self) -> Path | None:
        content = os.pread(self._file, 4096, 0)
        return Path(os.fsdecode(content[:-1])) if content.endswith(b"\n") else None

    def release(self) -> None:
        os.close(self._file)


def _start_or_join(home: Path, report: Callable[[str], None], settings: Mapping[str, str]) -> EmbeddedPostgres:
    folder = home / "postgres"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    ownership = _Ownership(home)
    deadline = time.monotonic() + _OTHERS_START_TIMEOUT_S
    try:
        while not ownership.take():
            socket_folder = ownership.announced()
            if socket_folder is not None and _answers(socket_folder):
                ownership.release()
                return EmbeddedPostgres(socket_folder)
            if time.monotonic() > deadline:
                raise PostgresUnavailable(f"Another souk seems stuck while it starts the PostgreSQL of {home}: end it, then start again.")
            time.sleep(_POLL_S)
        server, socket_folder = _start(folder, report, settings)
    except BaseException:
        ownership.release()
        raise
    started = EmbeddedPostgres(socket_folder, server, ownership)
    ownership.announce(socket_folder)
    _owned[home] = started
    atexit.register(started.stop)
    return started


def _start(folder: Path, report: Callable[[str], None], settings: Mapping[str, str]) -> tuple[Server, Path]:
    postgres_cluster.end_stray(folder / "data")
    installation = postgres_binaries.unpack(folder / "binaries", report)
    identity = postgres_cluster.choose_identity(folder, installation)
    cluster = Cluster(folder, installation, _make_socket_folder(folder), identity)
    postgres_cluster.create(cluster, durable=settings.get("fsync", "on") == "on", report=report)
    report("Starting PostgreSQL")
    return postgres_cluster.serve(cluster, settings, report), cluster.run


def _make_socket_folder(folder: Path) -> Path:
    """Make a folder that only this user can enter, short enough for a socket's path."""
    run = folder / "run"
    if len(os.fsencode(_socket(run))) < _SOCKET_PATH_LIMIT:
        run.mkdir(mode=0o700, exist_ok=True)
        run.chmod(0o700)
        return run
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    run = Path(tempfile.gettempdir()).resolve() / f"souk-{name}"
    run.mkdir(mode=0o700, exist_ok=True)
    found = run.lstat()
    # Anybody can make a folder there before us.
    if run.is_symlink() or found.st_uid not in (os.geteuid(), folder.stat().st_uid) or found.st_mode & 0o077:
        raise PostgresUnavailable(f"{run} is somebody else's or open to others: remove it, or choose a SOUK_HOME with a shorter path.")
    return run


def _socket(folder: Path) -> Path:
    return folder / f".s.PGSQL.{PORT}"


def _answers(socket_folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(_socket(socket_folder)))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def database(find_home: Callable[[], Path], report: Callable[[str], None]) -> Iterator[str]:
    """The shared database's address: DATABASE_URL, or the embedded server, which runs as long as this block."""
    if dsn := os.environ.get("DATABASE_URL"):
        yield dsn
        return
    with start(find_home(), report) as postgres:
        yield postgres.dsn()
