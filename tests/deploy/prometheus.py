"""A Prometheus of a test's own, and what it says; where there is none the tests that want it are skipped, with the reason."""

import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engines.fetching import find_prometheus
from tests.ports import find_free_port

READY_WITHIN_S = 30.0


def find_programs() -> Path:
    """Where promtool and prometheus are; skips the test where they are not."""
    found = find_prometheus()
    if found is None:
        pytest.skip("no Prometheus: `make engines` gets it")
    return found


def promtool(*arguments: str | Path, cwd: Path) -> str:
    """What it prints; fails with it."""
    done = subprocess.run([find_programs() / "promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """It scrapes as it is told by prometheus.yml in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{find_free_port()}"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = (f"--storage.tsdb.path={self.folder}/data", f"--config.file={self.folder}/prometheus.yml")
        command = [find_programs() / "prometheus", *options, f"--web.listen-address={self.url.removeprefix('http://')}"]
        with (self.folder / "prometheus.log").open("wb") as log:
            running = self._popen = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + READY_WITHIN_S
        while not self._is_ready():
            assert running.poll() is None and time.monotonic() < until, (self.folder / "prometheus.log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get(f"/api/v1/query?query={urllib.parse.quote(expression)}")["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire, and what they are about."""
        alerts = [one for one in self._get("/api/v1/alerts")["alerts"] if one["state"] == "firing"]
        labels = ("source", "consumer", "rule", "job", "place")
        return {(one["labels"]["alertname"], next((one["labels"][name] for name in labels if name in one["labels"]), "")) for one in alerts}

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            told: dict[str, Any] = msgspec.json.decode(answer.read())["data"]
            return told

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
