"""Brokers as private processes on the loopback: to be started, killed, frozen, wiped and started again."""

import base64
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

from tests.engines.fetching import find_kafka, find_rabbitmq
from tests.ports import find_free_ports

READY_WITHIN_S = 60.0

RABBITMQ_CONF = """
listeners.tcp.default = 127.0.0.1:{port}
default_user = souk
default_pass = {password}
log.console = true
log.console.level = warning
log.file = false
disk_free_limit.absolute = 50MB
"""

KAFKA_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
KAFKA_LOG = """
Configuration:
  Appenders: {Console: {name: STDOUT, PatternLayout: {pattern: "%d %p %c: %m%n"}}}
  Loggers: {Root: {level: WARN, AppenderRef: {ref: STDOUT}}}
"""
JAVA = ("java", "-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")


class Broker:
    """A broker in a folder of its own. Its processes are of one group, to which every signal goes."""

    url: str
    port: int

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self._popen: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it, empty if it has no data, and return when it answers."""
        self.begin()
        self.wait_until_ready()

    def begin(self) -> None:
        """Start it and return at once."""
        raise NotImplementedError

    def wait_until_ready(self) -> None:
        until = time.monotonic() + READY_WITHIN_S
        while not self.answers():
            assert self._popen is not None and self._popen.poll() is None, self.tail()
            assert time.monotonic() < until, self.tail()
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it listens: both brokers do so when they are ready, not before."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        if self._popen is not None:
            os.killpg(self._popen.pid, number)

    def kill(self) -> None:
        """End it without a warning."""
        if self._popen is not None:
            self.send(signal.SIGKILL)
            self._popen.wait()
            self._popen = None

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def wipe(self) -> None:
        """Kill it and remove all that it has kept."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def cpu_s(self) -> float:
        """The processor's time that its running processes have used."""
        assert self._popen is not None
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self._popen.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _spawn(self, command: tuple[str, ...], environment: dict[str, str]) -> None:
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )


class RabbitMQ(Broker):
    """One node with a name mapper, cookie, home and plugin list of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self._mapper_port, self._nodes_port = find_free_ports(3)
        self._password, self._cookie = secrets.token_hex(8), secrets.token_hex(16)
        self._name = f"souk{self.port}@localhost"
        self.url = f"amqp://souk:{self._password}@127.0.0.1:{self.port}/"
        (folder / "rabbitmq.conf").write_text(RABBITMQ_CONF.format(port=self.port, password=self._password))
        (folder / "plugins").write_text("[].\n")

    def begin(self) -> None:
        scripts = find_rabbitmq()
        assert scripts is not None, "make engines"
        erlang = scripts.parents[3] / "erlang/bin"
        # The mapper is started here and not by the node, which would leave it behind as a daemon of everybody.
        command = f'epmd -address 127.0.0.1 -port {self._mapper_port} & exec "{scripts}/rabbitmq-server"'
        environment = {
            "PATH": f"{erlang}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._nodes_port),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PLUGINS_DIR": str(scripts.parent / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}} -setcookie {self._cookie} +S 2:2 +sbwt none"
            ),
        }
        self._spawn(("sh", "-c", command), environment)


class Kafka(Broker):
    """One node that is broker and controller, with little memory. Like those that are rented it makes no topic by itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, controller_port = find_free_ports(2)
        self.url = f"kafka://127.0.0.1:{self.port}"
        self._properties = folder / "server.properties"
        self._properties.write_text(KAFKA_PROPERTIES.format(port=self.port, controller_port=controller_port, data=self.data))
        (folder / "log4j2.yaml").write_text(KAFKA_LOG)

    def begin(self) -> None:
        archives = find_kafka()
        assert archives is not None, "make engines"
        java = (*JAVA, f"-Dlog4j2.configurationFile={self.folder}/log4j2.yaml", "-cp", f"{archives}/*")
        if not self.data.exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # As one word: an id may begin with a hyphen.
            tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--standalone", "-c", str(self._properties))
            done = subprocess.run((*java, *tool), cwd=self.folder, capture_output=True, text=True, check=False, timeout=READY_WITHIN_S)
            assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        self._spawn((*java, "kafka.Kafka", str(self._properties)), dict(os.environ))


KINDS: dict[str, type[Broker]] = {"rabbitmq": RabbitMQ, "kafka": Kafka}


def lacking(kind: str) -> str | None:
    """Why no test can have this broker; None if it can."""
    found = find_rabbitmq() if kind == "rabbitmq" else find_kafka()
    return None if found else f"no {KINDS[kind].__name__}: run `make engines`"
