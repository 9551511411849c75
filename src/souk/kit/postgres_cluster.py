"""The data folder of the embedded PostgreSQL, and the server process that works on it."""

import contextlib
import os
import pwd
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from souk.kit import launcher
from souk.kit.postgres_binaries import OWN_SERVER, PostgresUnavailable

ROLE = "souk"
DATABASE = "souk"
PORT = "5432"  # nothing listens on it: it is a part of the socket's name

_MAJOR = "18"
_STOP_TIMEOUT_S = 60.0
_START_TIMEOUT_S = 600.0
_POLL_S = 0.01
_SHARED_MEMORY_TIMEOUT_S = 10.0
# Without an installed time zone database PostgreSQL knows GMT only.
_UTC = "UTC" if Path("/usr/share/zoneinfo/UTC").exists() else "GMT"
# LC_CTYPE decides what a letter is in full-text search; with plain C that would be ASCII only.
_CTYPE = "C.UTF-8" if sys.platform == "linux" else "UTF-8"

SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "112MB",
    "huge_pages": "off",  # asking for them kills the server in containers that only pretend to have them
    "wal_compression": "lz4" if sys.platform == "linux" else "pglz",
    # A server that was killed replays some 150 MB a second, and is to be back within five.
    "max_wal_size": "600MB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": _UTC,
    "log_timezone": _UTC,
    "idle_in_transaction_session_timeout": "60s",
    "shared_preload_libraries": "pg_stat_statements",
    # Failed statements stay out of the log: their caller hears of them, and their values may be personal data.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "cluster_name": "souk",
}


@dataclass(frozen=True)
class Cluster:
    """The folders of one shop's database, the programs for it, and the identity under which they run."""

    folder: Path
    installation: Path
    run: Path
    identity: str

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def command(self, program: str, *arguments: str) -> list[str]:
        """Answer the command line that runs a program of PostgreSQL as our identity and ends it with this process."""
        launched = [sys.executable, "-I", "-S", launcher.__file__, self.identity, str(os.getpid())]
        return [*launched, str(self.installation / "bin" / program), *arguments]

    def environment(self) -> dict[str, str]:
        """Answer the environment of the programs: ours without PG* and locale, which would change what they do."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return kept | {"LD_LIBRARY_PATH": str(self.installation / "lib"), "LC_ALL": "C"}


def choose_identity(folder: Path, installation: Path) -> str:
    """Answer how to run PostgreSQL, which refuses root: "self", or for root "namespace", or "UID:GID" to drop to.

    A folder that is not root's runs as its owner. Else a user namespace keeps the files root's; where the system refuses one
    (containers often do) it is the account nobody.
    """
    if os.geteuid() != 0:
        return "self"
    owner = folder.stat()
    if owner.st_uid != 0:
        return f"{owner.st_uid}:{owner.st_gid}"
    if _may_enter_namespace(folder, installation):
        return "namespace"
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise PostgresUnavailable("PostgreSQL refuses root, and there is no account nobody: run souk as an ordinary user.") from None
    return f"{nobody.pw_uid}:{nobody.pw_gid}"


def _may_enter_namespace(folder: Path, installation: Path) -> bool:
    probe = Cluster(folder, installation, folder, "namespace")
    return sys.platform == "linux" and _run(probe, "postgres", "--version").returncode != launcher.NAMESPACE_REFUSED


def create(cluster: Cluster, *, durable: bool, report: Callable[[str], None]) -> None:
    """Make the data folder with the role and the database of the shop; do nothing when there is one, refuse one of another version.

    It appears complete or not at all, also when this process is killed.
    """
    version = cluster.data / "PG_VERSION"
    if version.is_file():
        found = version.read_text().strip()
        if found != _MAJOR:
            age = "newer" if int(found) > int(_MAJOR) else "older"
            raise PostgresUnavailable(
                f"{cluster.data} was made by PostgreSQL {found}, which is {age} than the {_MAJOR} that souk runs: "
                f"dump it with version {found} and load the dump into an empty SOUK_HOME."
            )
        return
    report("Creating the database")
    for abandoned in cluster.folder.glob("data-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    # Under a new name every time: the initdb of a process killed a moment ago may still be clearing its own away.
    partial = Path(tempfile.mkdtemp(prefix="data-", dir=cluster.folder))
    give(cluster)
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", f"--lc-ctype={_CTYPE}"]
    access = [f"--username={ROLE}", "--auth-local=trust", "--auth-host=reject"]
    no_sync = [] if durable else ["--no-sync"]
    _check(_run(cluster, "initdb", f"--pgdata={partial}", "--data-checksums", *locale, *access, *no_sync), cluster)
    fsync = "on" if durable else "off"
    statement = f'CREATE DATABASE "{DATABASE}"'
    _check(_run(cluster, "postgres", "--single", "-D", str(partial), "-c", f"fsync={fsync}", "postgres", typed=statement), cluster)
    partial.rename(cluster.data)


def give(cluster: Cluster) -> None:
    """Hand everything in the folder to the identity, when root runs PostgreSQL as somebody else."""
    if ":" not in cluster.identity:
        return
    uid, gid = (int(part) for part in cluster.identity.split(":"))
    for top in (*cluster.folder.iterdir(), cluster.run, cluster.folder):
        if top.lstat().st_uid == uid:
            continue
        for parent, folders, files in os.walk(top, topdown=False):
            for name in (*folders, *files):
                os.chown(Path(parent, name), uid, gid, follow_symlinks=False)
        os.chown(top, uid, gid, follow_symlinks=False)


def end_stray(data: Path) -> None:
    """End a server that its owner left behind, and disarm a postmaster.pid whose number now belongs to another program."""
    pid_file = data / "postmaster.pid"
    lines = _pid_lines(data)
    if not lines:
        return
    pid = int(lines[0])
    if _serves(pid, data):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while _serves(pid, data):
            if time.monotonic() > deadline:
                raise PostgresUnavailable(f"An earlier PostgreSQL of this shop (process {pid}) does not end: stop it, then start again.")
            time.sleep(_POLL_S)
    elif _is_alive(pid):
        # PostgreSQL would take the other program for itself. It does not so with its parent's number, which is ours; the rest of
        # the file stays, by which it notices orphans that still write to the data.
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")


class Server:
    """The server process: a child of this one, in a session of its own so that a terminal's Ctrl-C does not reach it."""

    def __init__(self, process: subprocess.Popen[bytes], keeper: threading.Thread, data: Path) -> None:
        self.process = process
        self._keeper = keeper
        self._data = data

    @property
    def is_running(self) -> bool:
        """Whether it has not ended. The system is asked: `poll` says so only when the keeper has had time to hear of it."""
        return self.process.poll() is None and _serves(self.process.pid, self._data)

    def end(self) -> None:
        """Ask for a fast shutdown and wait for it; after a minute leave the rest to crash recovery. May be called again."""
        for request, patience_s in ((signal.SIGINT, _STOP_TIMEOUT_S), (signal.SIGQUIT, _STOP_TIMEOUT_S), (signal.SIGKILL, None)):
            if self._keeper.is_alive():
                self.process.send_signal(request)
                self._keeper.join(patience_s)


def serve(cluster: Cluster, settings: Mapping[str, str], report: Callable[[str], None]) -> Server:
    """Start the server and answer when it takes connections."""
    deadline = time.monotonic() + _SHARED_MEMORY_TIMEOUT_S
    while True:
        server = _launch(cluster, settings)
        try:
            if _await_ready(server, cluster, report):
                return server
        except BaseException:
            server.end()
            raise
        # The children of a killed server need a moment to notice that they are orphans.
        if "is still in use" not in _log_text(cluster) or time.monotonic() > deadline:
            raise PostgresUnavailable(f"PostgreSQL did not start: {_reason(_log_text(cluster))} (more in {cluster.log})")
        time.sleep(_POLL_S * 10)


def _launch(cluster: Cluster, settings: Mapping[str, str]) -> Server:
    if cluster.log.exists():
        cluster.log.replace(cluster.log.with_suffix(".log.1"))
    options = [f"{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
    command = cluster.command("postgres", "-D", str(cluster.data), "-k", str(cluster.run), "-p", PORT)
    command += [part for option in options for part in ("-c", option)]
    started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()

    def keep() -> None:
        # The kernel ties a child to the thread that made it: this one lives as long as the server, a caller's may not.
        try:
            with os.fdopen(os.open(cluster.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as log:
                give(cluster)
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=cluster.environment(),
                    start_new_session=True,
                    umask=0o077,
                )
        except OSError as error:
            started.put(error)
            return
        started.put(process)
        process.wait()

    keeper = threading.Thread(target=keep, name="postgres", daemon=True)
    keeper.start()
    outcome = started.get()
    if isinstance(outcome, OSError):
        raise outcome
    return Server(outcome, keeper, cluster.data)


def _await_ready(server: Server, cluster: Cluster, report: Callable[[str], None]) -> bool:
    """Answer True when the server takes connections, False when it ended."""
    began = time.monotonic()
    patient = False
    while server.process.poll() is None:
        lines = _pid_lines(cluster.data)
        if len(lines) > 7 and lines[0] == str(server.process.pid) and lines[7].strip() == "ready":
            return True
        waited_s = time.monotonic() - began
        if waited_s > _START_TIMEOUT_S:
            raise PostgresUnavailable(f"PostgreSQL was not ready after {_START_TIMEOUT_S:.0f} seconds (more in {cluster.log})")
        if waited_s > 5 and not patient:
            patient = True
            report("PostgreSQL is recovering from an interruption; this may take a while")
        time.sleep(_POLL_S)
    return False


def _run(cluster: Cluster, program: str, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    environment = cluster.environment()
    command = cluster.command(program, *arguments)
    return subprocess.run(command, input=typed, capture_output=True, text=True, cwd="/", env=environment, umask=0o077, check=False)


def _check(outcome: subprocess.CompletedProcess[str], cluster: Cluster) -> None:
    if outcome.returncode == 0:
        return
    reason = _reason(outcome.stderr)
    if outcome.returncode == launcher.NOT_RUNNABLE and "Permission denied" in reason and ":" in cluster.identity:
        raise PostgresUnavailable(
            f"PostgreSQL refuses root, and user {cluster.identity.split(':')[0]}, as whom it runs instead, cannot enter {cluster.folder}: "
            "choose a SOUK_HOME that everybody may enter, or run souk as an ordinary user."
        )
    if outcome.returncode in (launcher.NOT_RUNNABLE, 127):
        raise PostgresUnavailable(f"PostgreSQL does not run on this system ({reason}): {OWN_SERVER}.")
    raise PostgresUnavailable(f"PostgreSQL could not create its data folder: {reason}")


def _reason(text: str) -> str:
    """Pick the line that says why from what a program of PostgreSQL wrote."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    chosen = (telling or lines or ["it said nothing"])[0 if telling else -1]
    return chosen.partition("FATAL:")[2].strip() or chosen


def _log_text(cluster: Cluster) -> str:
    return cluster.log.read_text(errors="replace")


def _pid_lines(data: Path) -> list[str]:
    """Read postmaster.pid: the process first, its status ("starting", "ready", "stopping") eighth; empty without one."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
    return lines if lines and lines[0].strip().isdigit() else []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _serves(pid: int, data: Path) -> bool:
    """Tell whether the process is a PostgreSQL server that works on this data folder."""
    if sys.platform == "linux":
        try:
            return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
    else:
        shown = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
        return f"-D {data} " in shown.stdout
