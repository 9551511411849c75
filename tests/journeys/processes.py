"""A shop as real processes on loopback sockets: all contexts in one, or one process and one database for each."""

import base64
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.engines.brokers import Broker
from tests.ports import find_free_ports

from souk import app

START_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
ADMIN = ("admin@shop.example", "the-admin-of-the-journeys")

# Patience that fits a test; what a shop does is the same.
IMPATIENT = {
    "SOUK_POOL_SIZE": "8",
    "SOUK_USERS_ATTEMPTS": "1000",
    "SOUK_PAYMENTS_GATEWAY_CONNECT_S": "1",
    "SOUK_PAYMENTS_GATEWAY_TIMEOUT_S": "2",
    "SOUK_PAYMENTS_SETTLE_AFTER_S": "1",
    "SOUK_PAYMENTS_PAYOUT_CHANGE_DELAY_S": "1",
    "SOUK_ORDERS_PAYMENT_WINDOW_S": "15",
    "SOUK_SHIPPING_CARRIER_CONNECT_S": "0.5",
    "SOUK_SHIPPING_CARRIER_TIMEOUT_S": "1",
    "SOUK_SHIPPING_TRACK_EVERY_S": "2",
    "SOUK_WEBHOOKS_ALLOW_PRIVATE": "true",
    "SOUK_WEBHOOKS_RETRIES_S": "0.1,0.2",
}


class Process:
    """One `souk` process with its environment and its log; it can be killed and started again."""

    program = "souk"

    def __init__(self, name: str, log: Path, arguments: Iterable[str], environment: dict[str, str], url: str) -> None:
        self.name = name
        self.log = log
        self.url = url
        self._arguments = [sys.executable, "-m", self.program, *arguments]
        self._environment = environment
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def runs(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(self._arguments, env=self._environment, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        until = time.monotonic() + START_WITHIN_S
        while not is_ready(self.url):
            assert self.runs, f"{self.name} ended:\n{self.tail()}"
            assert time.monotonic() < until, f"{self.name} is not ready:\n{self.tail()}"
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        if self._popen is not None:
            self._popen.send_signal(number)

    def wait(self, within_s: float = STOP_WITHIN_S) -> int:
        """The exit code; a process that does not end is killed and is a failure."""
        assert self._popen is not None, f"{self.name} was not started"
        try:
            return self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            raise

    def end(self) -> int:
        """The exit code; of one that has to be killed it is that of a kill, so that the others are ended, too."""
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL

    def kill(self) -> None:
        """End it without a warning, as a power cut would."""
        self.send(signal.SIGKILL)
        self.wait()

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=3) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Keys:
    """What the shop and the sandbox have agreed on."""

    def __init__(self) -> None:
        self.api_key = secrets.token_hex(16)
        self.webhook_secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class Processes:
    """All processes of a shop. `url` is its public front, `internal` where each context is called by the others."""

    kind = Process
    patience: Mapping[str, str] = IMPATIENT

    def __init__(
        self,
        folder: Path,
        dsns: dict[str, str],
        keys: Keys,
        sandbox_url: str,
        *,
        wire: bool,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.wire = wire
        self.dsns = dsns
        self.broker: Broker | None = None
        names = (*app.CONTEXTS, "edge") if wire else ("all",)
        ports = find_free_ports(2 * len(names))
        self.public = dict(zip(names, ports, strict=False))
        self.internal = dict(zip(names, ports[len(names) :], strict=True))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_") and name != "DATABASE_URL"}
        self.environment |= {
            **self.patience,
            "SOUK_HOME": str(folder / "home"),
            "SOUK_INTERNAL_SECRETS": secrets.token_hex(32),
            "SOUK_PAYMENTS_SANDBOX_URL": sandbox_url,
            "SOUK_PAYMENTS_SANDBOX_API_KEY": keys.api_key,
            "SOUK_PAYMENTS_SANDBOX_WEBHOOK_SECRETS": keys.webhook_secret,
            "SOUK_PAYMENTS_SANDBOX_BANK_URL": sandbox_url,
            "SOUK_SHIPPING_SANDBOX_URL": sandbox_url,
            "SOUK_SHIPPING_SANDBOX_API_KEY": keys.api_key,
            "SOUK_SHIPPING_SANDBOX_WEBHOOK_SECRETS": keys.webhook_secret,
            **(settings or {}),
        }
        self.processes = {name: self._make(name) for name in names}
        self.url = self.processes["edge" if wire else "all"].url

    def _make(self, name: str) -> Process:
        arguments = ["serve", name, "--port", str(self.public[name]), "--internal-port", str(self.internal[name])]
        hosted = {"all": app.CONTEXTS, "edge": ()}.get(name, (name,))
        places = {f"SOUK_DATABASE_{context.upper()}": self.dsns[context] for context in hosted}
        places |= {f"SOUK_PEER_{context.upper()}": self.internal_url(context) for context in app.CONTEXTS if context not in hosted}
        log = self.folder / f"{name}.log"
        return self.kind(name, log, arguments, self.environment | places, f"http://127.0.0.1:{self.public[name]}")

    def make_twin(self) -> Process:
        """One more process of this shop, which hosts every context on the same databases. Whoever starts it stops it."""
        (port,) = find_free_ports(1)
        places = {f"SOUK_DATABASE_{context.upper()}": dsn for context, dsn in self.dsns.items()}
        environment = {**self.environment, **places, "SOUK_POOL_SIZE": "4"}
        return self.kind("twin", self.folder / "twin.log", ["serve", "all", "--port", str(port)], environment, f"http://127.0.0.1:{port}")

    def internal_url(self, context: str) -> str:
        return f"http://127.0.0.1:{self.internal[context if self.wire else 'all']}"

    def host_of(self, context: str) -> Process:
        """The process that hosts a context."""
        return self.processes[context if self.wire else "all"]

    def start(self) -> None:
        """Start what does not run, and return when all of it is ready."""
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        for process in self.processes.values():
            if not process.runs:
                process.start()
        for process in self.processes.values():
            process.wait_until_ready()

    def stop(self) -> dict[str, int]:
        """Ask all to stop; their exit codes."""
        running = [process for process in self.processes.values() if process.runs]
        for process in running:
            process.send(signal.SIGTERM)
        return {process.name: process.end() for process in running}

    def souk(self, *arguments: str, stdin: str = "") -> str:
        """Run a command on the shop's data; what it prints."""
        places = {f"SOUK_DATABASE_{context.upper()}": dsn for context, dsn in self.dsns.items()}
        done = subprocess.run(
            [sys.executable, "-m", "souk", *arguments],
            env=self.environment | places | {"DATABASE_URL": self.dsns["users"]},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
