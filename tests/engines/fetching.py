"""Gets RabbitMQ, Kafka and Prometheus by this machine's package managers, into .engines: nothing else is changed, no root is needed."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".engines"
INSTALLED = Path("/usr/lib/rabbitmq")
KAFKA_VERSION = "4.1.0"

POM = f"""
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>souk</groupId><artifactId>engines</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>
  </dependencies>
</project>
"""
WITHIN_S = 300


class NotToBeHad(Exception):
    """An engine cannot be gotten on this machine; the message says what would help."""


def find_rabbitmq() -> Path | None:
    """The folder of RabbitMQ's scripts: what was fetched, or what the machine has installed."""
    places = [FOLDER / "rabbitmq/usr/lib/rabbitmq", INSTALLED]
    return next((found for place in places for found in sorted(place.glob("lib/rabbitmq_server-*/sbin"))), None)


def find_kafka() -> Path | None:
    """The folder of Kafka's archives."""
    folder = FOLDER / f"kafka-{KAFKA_VERSION}"
    return folder if folder.is_dir() and shutil.which("java") else None


def find_prometheus() -> Path | None:
    """The folder of Prometheus' programs: what was fetched, or what the machine has installed."""
    if (fetched := FOLDER / "prometheus/usr/bin").is_dir():
        return fetched
    installed = shutil.which("promtool")
    return Path(installed).parent if installed and shutil.which("prometheus") else None


def fetch_prometheus() -> Path:
    """Prometheus out of Debian's package, unpacked and not installed. Raises NotToBeHad."""
    if found := find_prometheus():
        return found
    with _partial("prometheus") as folder:
        _unpack(folder, "prometheus", lambda: ["prometheus"])
    return fetch_prometheus()


def fetch_rabbitmq() -> Path:
    """RabbitMQ and the Erlang it runs on, out of Debian's packages, unpacked and not installed. Raises NotToBeHad."""
    if found := find_rabbitmq():
        return found
    with _partial("rabbitmq") as folder:
        _unpack(folder, "rabbitmq-server", lambda: _find_erlang(folder))
        # Debian's script knows one place only for what it starts.
        script = folder / "usr/lib/erlang/bin/erl"
        script.write_text(re.sub("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={FOLDER}/rabbitmq/usr/lib/erlang", script.read_text()))
    return fetch_rabbitmq()


def fetch_kafka() -> Path:
    """Kafka and what it needs to run, by Maven. Raises NotToBeHad."""
    if found := find_kafka():
        return found
    if not shutil.which("mvn") or not shutil.which("java"):
        raise NotToBeHad("no Kafka: install a Java of version 17 or newer, and Maven")
    with _partial(f"kafka-{KAFKA_VERSION}") as folder:
        (folder / "pom.xml").write_text(POM)
        _run("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=.", "-DincludeScope=runtime", cwd=folder)
    return fetch_kafka()


FETCH: dict[str, Callable[[], Path]] = {"RabbitMQ": fetch_rabbitmq, "Kafka": fetch_kafka, "Prometheus": fetch_prometheus}


def fetch_all(report: Callable[[str], None]) -> None:
    """Get what can be had; for what cannot it is told why, and the tests that want it are skipped."""
    for name, fetch in FETCH.items():
        try:
            report(f"{name}: {fetch()}")
        except NotToBeHad as lack:
            report(str(lack))
        except (OSError, subprocess.SubprocessError) as trouble:
            report(f"no {name}: {trouble}")


def _unpack(folder: Path, name: str, find_packages: Callable[[], list[str]]) -> None:
    """Get Debian's packages of what is called so, and unpack them here."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise NotToBeHad(f"no {name}: install it")
    try:
        _run("apt-get", "download", "-qq", *find_packages(), cwd=folder)
    except subprocess.CalledProcessError:
        if os.geteuid() != 0:
            raise NotToBeHad(f"no {name}: run `apt-get update` as root, or install it") from None
        _run("apt-get", "update", "-qq", cwd=folder)
        _run("apt-get", "download", "-qq", *find_packages(), cwd=folder)
    for package in folder.glob("*.deb"):
        _run("dpkg-deb", "-x", package.name, ".", cwd=folder)
        package.unlink()


def _find_erlang(folder: Path) -> list[str]:
    wanted = ("--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances")
    names = set(_run("apt-cache", "depends", *wanted, "rabbitmq-server", cwd=folder).split())
    return sorted(name for name in names if re.fullmatch("rabbitmq-server|erlang-[a-z0-9-]+", name))


def _run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=WITHIN_S, check=True)
    return done.stdout


@contextmanager
def _partial(name: str) -> Iterator[Path]:
    """Inside, a folder that takes its name only when it is whole; who comes second to it leaves it as it is."""
    folder = FOLDER / f"{name}.{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
        if not (FOLDER / name).exists():
            folder.rename(FOLDER / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
