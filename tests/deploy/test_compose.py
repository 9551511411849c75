"""compose.yaml: it is valid, agrees with the table of parts, keeps no secret, and is a shop when it is run without containers."""

import ast
import asyncio
import graphlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import jsonschema
import msgspec
import pytest
import valkey
import yaml
from deploy.write import find_outdated, write_all
from tests.caches import CacheServer, find_server
from tests.journeys.client import Client
from tests.journeys.market import fill_cart, order
from tests.ports import find_free_port
from tests.waiting import until

from souk import app
from souk.deployment import NEEDED_TO_BUY, OWNED_SECRETS, PARTS
from souk.kit.postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
GUIDE = (ROOT / "docs/guides/settings.md").read_text()
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


def test_it_is_what_the_table_says() -> None:
    assert find_outdated(write_all().items()) == []
    assert set(OURS) == {part.name for part in PARTS} | {"setup"}
    for part in PARTS:
        assert tuple(SERVICES[part.name]["command"]) == part.arguments(part.port)
        assert SERVICES[part.name]["healthcheck"]["test"][-1] == part.health_url(part.port)
        peers = {context: OURS[part.name]["environment"][f"SOUK_PEER_{context.upper()}"] for context in app.CONTEXTS}
        assert peers == {one.name: f"http://{one.name}:{one.port}" for one in PARTS if not one.is_edge}


def test_it_is_a_compose_file() -> None:
    schema = resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    validator = jsonschema.validators.validator_for(rules := msgspec.json.decode(schema.read_bytes()))(rules)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert [*validator.iter_errors({"services": {"orders": {"command": {"serve": 1}}}})]


def test_it_starts_what_is_needed_in_an_order_that_there_is() -> None:
    needs = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    started = [*graphlib.TopologicalSorter(needs).static_order()]
    assert started.index("postgres") < started.index("setup") < started.index("orders") < started.index("edge")
    for name in app.CONTEXTS:
        assert SERVICES[name]["depends_on"]["setup"] == {"condition": "service_completed_successfully"}
        awaited = "service_healthy" if name in NEEDED_TO_BUY else "service_started"
        assert SERVICES["edge"]["depends_on"][name] == {"condition": awaited}
    assert SERVICES["setup"]["depends_on"]["postgres"] == {"condition": "service_healthy"}


def test_every_service_is_watched_kept_and_may_do_no_more_than_it_has_to() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("no" if name == "setup" else "unless-stopped"), name
        assert name == "setup" or service["healthcheck"]["test"][0] == "CMD", name
        assert "privileged" not in service
    for name, service in OURS.items():
        assert {field: service[field] for field in HARDENED} == HARDENED, name
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"edge": ["127.0.0.1:8000:8000"], "grafana": ["127.0.0.1:3000:3000"]}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "outside" in service["networks"]} == {*OURS, "grafana"}


def test_it_keeps_no_secret_and_each_context_is_told_its_own() -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert not re.search(r"(?i)password|secret|postgresql://|change-me", text.replace("with secrets of your own", ""))
    for name in app.CONTEXTS:
        assert SERVICES[name]["env_file"] == ["deploy/env/shop.env", f"deploy/env/{name}.env"]
        example = (ROOT / f"deploy/env/{name}.env.example").read_text()
        assert set(re.findall(r"^(SOUK_DATABASE_\w+)=", example, re.MULTILINE)) == {f"SOUK_DATABASE_{name.upper()}"}
    for secret, owner in OWNED_SECRETS.items():
        holders = [path.name for path in (ROOT / "deploy/env").glob("*.example") if f"{secret}=" in path.read_text()]
        assert holders == [f"{owner}.env.example"]
    ignored = subprocess.run(["git", "check-ignore", "deploy/env/users.env"], cwd=ROOT, capture_output=True, check=False)
    assert ignored.returncode in (0, 128)  # 128: this is no checkout


def find_secrets_of(context: str) -> set[str]:
    """The secrets of the shop that the source of a context asks for."""
    nodes = [node for file in (ROOT / "src/souk" / context).rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "find_secret"]
    return {f"SOUK_SECRET_{ast.literal_eval(call.args[1]).upper()}" for call in calls}


def test_a_secret_that_a_part_asks_for_is_handed_to_it_because_what_it_made_itself_would_not_outlive_it() -> None:
    assert "/data" in SERVICES["notifications"]["tmpfs"]
    asked = {(name, context) for context in app.CONTEXTS for name in find_secrets_of(context)}
    assert len(asked) > 2
    assert asked == set(OWNED_SECRETS.items())


def variables_of(example: Path) -> list[str]:
    return re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", example.read_text(), re.MULTILINE)


def test_the_examples_name_variables_that_there_are_and_all_that_a_context_has() -> None:
    told: set[str] = set()
    for example in sorted((ROOT / "deploy/env").glob("*.env.example")):
        found = variables_of(example)
        told.update(found)
        foreign = ("POSTGRES_", "RABBITMQ_", "GF_", "REDISCLI_")
        known = [name for name in found if f"`{name}`" in GUIDE or name.startswith(("SOUK_DATABASE_", *foreign))]
        assert found == known, example.name
    settings = set(re.findall(rf"`(SOUK_(?:{'|'.join(context.upper() for context in app.CONTEXTS)})_[A-Z0-9_]+)`", GUIDE))
    assert len(settings) > 40
    assert settings <= told


def fill_examples(folder: Path) -> Path:
    """The files that `sh deploy/make-env.sh` makes, in a copy."""
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("*.env"))
    for _ in range(2):
        subprocess.run(["sh", str(folder / "deploy/make-env.sh")], check=True)
    return folder / "deploy/env"


def read_env(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_secrets_are_made_once_each_and_agree(tmp_path: Path) -> None:
    files = {file.name.removesuffix(".env"): file for file in fill_examples(tmp_path).glob("*.env")}
    assert set(files) == {path.name.removesuffix(".env.example") for path in (ROOT / "deploy/env").glob("*.example")}
    assert all(file.stat().st_mode & 0o777 == 0o600 and "change-me" not in file.read_text() for file in files.values())
    passwords = [read_env(files[name])[f"SOUK_DATABASE_{name.upper()}"].split(":")[2].partition("@")[0] for name in app.CONTEXTS]
    passwords += [read_env(files["postgres"])["POSTGRES_PASSWORD"], read_env(files["shop"])["SOUK_INTERNAL_SECRETS"]]
    assert len(set(passwords)) == len(passwords)
    assert min(map(len, passwords)) == 48
    assert read_env(files["postgres"])["POSTGRES_PASSWORD"] in read_env(files["setup"])["DATABASE_URL"]
    before = {name: file.read_text() for name, file in files.items()}
    subprocess.run(["sh", str(tmp_path / "deploy/make-env.sh")], check=True)
    assert {name: file.read_text() for name, file in files.items()} == before


def run_cache(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The cache as compose runs it, for a process of this machine."""
    service = SERVICES["cache"]
    (folder / "valkey-server").symlink_to(find_server())
    script = service["command"][0].replace("$$", "$").replace("/tmp/", f"{folder}/") + f" --bind 127.0.0.1 --port {port}"
    told = read_env(folder / service["env_file"][0]) | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen([*service["entrypoint"], script], env=told, stdout=subprocess.DEVNULL)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


async def test_its_cache_opens_to_who_is_told_of_it_and_to_nobody_else(tmp_path: Path) -> None:
    env = fill_examples(tmp_path)
    server = CacheServer(tmp_path)
    running = run_cache(tmp_path, server.port)
    try:
        url = urlsplit(read_env(env / "shop.env")["SOUK_CACHE_URL"])
        friend = valkey.Valkey(port=server.port, password=url.password)

        async def answers() -> bool:
            with suppress(valkey.ConnectionError):
                return bool(friend.ping())
            return running.poll() is not None

        await until(answers)
        with pytest.raises(valkey.AuthenticationError):
            server.client().ping()
        assert "valkey-server" in command_of(running.pid) and str(url.password) not in command_of(running.pid)
        assert (tmp_path / "valkey.conf").stat().st_mode & 0o777 == 0o600
    finally:
        running.terminate()
        running.wait(20)


class Machine:
    """Runs services of compose.yaml as plain processes: their command, their environment and their health check, on the loopback."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres) -> None:
        self.folder = folder
        self.env = fill_examples(folder)
        self.ports = {part.port: find_free_port() for part in PARTS}
        self.socket = postgres.dsn().partition("?")[2]
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def adapt(self, text: str) -> str:
        """What a container is told, for a process of this machine."""
        text = re.sub(r"@postgres:5432/(\w+)", rf"@/\1?{self.socket}", text)
        text = re.sub(r"http://(?:[a-z]+|127\.0\.0\.1):(\d+)", lambda found: f"http://127.0.0.1:{self.ports[int(found[1])]}", text)
        text = text.replace("0.0.0.0", "127.0.0.1").replace("/data", str(self.folder / "data"))
        return str(self.ports[int(text)]) if text.isdigit() and int(text) in self.ports else text

    def environment(self, name: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SOUK_") and key != "DATABASE_URL"}
        told: dict[str, str] = {}
        for file in SERVICES[name]["env_file"]:
            told |= read_env(self.folder / file)
        told |= SERVICES[name]["environment"]
        told.pop("SOUK_CACHE_URL", None)
        return kept | {key: self.adapt(value) for key, value in told.items()}

    def run(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "souk", *map(self.adapt, SERVICES[name]["command"]), *more]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, env=self.environment(name), stdout=log, stderr=log)
        return self.running[name]

    async def until_healthy(self, name: str) -> None:
        """Return when its health check says so, as Docker asks it."""
        kind, *check = SERVICES[name]["healthcheck"]["test"]
        assert (kind, check[0]) == ("CMD", "python")

        async def look() -> bool:
            assert self.running[name].poll() is None, self.told(name)
            asked = await asyncio.create_subprocess_exec(
                sys.executable, *map(self.adapt, check[1:]), env=self.environment(name), stderr=asyncio.subprocess.DEVNULL
            )
            return await asked.wait() == 0

        await until(look, 60)

    def told(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(30)


@pytest.fixture
def machine(tmp_path: Path, postgres: EmbeddedPostgres) -> Iterator[Machine]:
    machine = Machine(tmp_path, postgres)
    yield machine
    machine.stop()


@pytest.mark.timeout(300)
async def test_its_commands_and_health_checks_are_a_shop(machine: Machine) -> None:
    setup = machine.run("setup", "--demo")
    assert await asyncio.to_thread(setup.wait) == 0, machine.told("setup")
    for name in NEEDED_TO_BUY:
        machine.run(name)
    for name in NEEDED_TO_BUY:
        await machine.until_healthy(name)
    machine.run("edge")
    await machine.until_healthy("edge")
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{machine.ports[8000]}"
        buyer = await Client(session, url).register()
        # Nothing runs that is not needed to buy.
        bought = await order(buyer, await fill_cart(buyer, "DEMO-0158-1"))
        assert bought.ok["status"] == "placed"
    spare = [context for context in app.CONTEXTS if context not in NEEDED_TO_BUY]
    for name in spare:
        machine.run(name)
    for name in spare:
        await machine.until_healthy(name)


@pytest.mark.timeout(300)
async def test_a_health_check_fails_while_the_database_is_not_what_it_has_to_be(machine: Machine) -> None:
    setup = machine.run("setup")
    assert await asyncio.to_thread(setup.wait) == 0, machine.told("setup")
    machine.run("reviews")
    await machine.until_healthy("reviews")
    connection = await asyncpg.connect(machine.environment("reviews")["SOUK_DATABASE_REVIEWS"])
    await connection.execute("UPDATE public.souk_migration SET name = '9999_gone.sql' WHERE name = '0001_review.sql'")
    assert await asyncio.to_thread(check_health, machine, "reviews") == (1, "HTTP/1.1 503")
    await connection.execute("UPDATE public.souk_migration SET name = '0001_review.sql' WHERE name = '9999_gone.sql'")
    await connection.close()
    assert await asyncio.to_thread(check_health, machine, "reviews") == (0, "")


def check_health(machine: Machine, name: str) -> tuple[int, str]:
    """Its exit code and what it says, without a URL: the image's own HEALTHCHECK asks like this."""
    port = machine.ports[next(part.port for part in PARTS if part.name == name)]
    environment = machine.environment(name) | {"SOUK_INTERNAL_PORT": str(port)}
    asked = subprocess.run([sys.executable, "-m", "souk.health"], env=environment, capture_output=True, text=True, check=False)
    return asked.returncode, asked.stderr.partition(": ")[2][:12]


def test_the_image_is_made_of_what_is_locked_and_runs_as_nobody_in_particular() -> None:
    lines = (ROOT / "Dockerfile").read_text()
    build, last = lines.split("\nFROM ")[1:]
    assert "--require-hashes" in build
    assert "pip install" not in last and "apt-get" not in last
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    (check,) = re.findall(r"^HEALTHCHECK .*CMD (.*)$", last, re.MULTILINE)
    assert msgspec.json.decode(check) == ["python", "-m", "souk.health"]
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", lines, re.MULTILINE) for word in line.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
