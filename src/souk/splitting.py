"""The parent of a split shop on one machine, a program of its own: a process and a database for each context, an edge, a cache.

`souk up --split` becomes it once it knows that the settings are right.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic

from souk import health
from souk.deployment import NEEDED_TO_BUY, OWNED_SECRETS, PARTS, Part, peers_of, without_places
from souk.kit import cache_server
from souk.kit.config import find_secret
from souk.kit.postgres import PostgresUnavailable, database
from souk.kit.separation import find_separate
from souk.kit.supervisor import Program, Stage, souk, supervise
from souk.kit.telemetry import configure_logging
from souk.supervising import say

READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.1


def become(home: Path, host: str, port: int, counts: Mapping[str, int], *, demo: bool) -> None:
    """Go on as the parent, in this process; of each part run as many processes as `counts` has, or one."""
    os.environ.update(SOUK_HOME=str(home.absolute()), SOUK_HOST=host, SOUK_PORT=str(port))
    wanted = [f"{name}={count}" for name, count in counts.items()]
    os.execv(sys.executable, (sys.executable, "-m", "souk.splitting", "--demo" if demo else "--no-demo", *wanted))  # noqa: S606


def main(demo: str, *wanted: str) -> None:
    """Start the database, give each context its own, bring them up to date, and keep the parts."""
    configure_logging(os.environ.get("SOUK_LOG_LEVEL", "INFO"), as_json=not sys.stderr.isatty())
    home = Path(os.environ["SOUK_HOME"])
    counts = {name: int(count) for name, _, count in (one.partition("=") for one in wanted)}
    try:
        with database(lambda: home, say) as dsn:
            os.environ["DATABASE_URL"] = dsn
            migrated = subprocess.run([*souk("migrate", "--separate"), *(("--demo",) if demo == "--demo" else ())], check=False)
            if migrated.returncode:
                raise SystemExit(migrated.returncode)
            asyncio.run(keep(home, dsn, counts))
    except PostgresUnavailable as mistake:
        raise SystemExit(f"Error: {mistake}") from mistake
    say("Stopped")


async def keep(home: Path, dsn: str, counts: Mapping[str, int]) -> None:
    """Run the shop until this process is told to stop: the edge ends first, the cache last."""
    environment = without_places(os.environ) | {"SOUK_INTERNAL_SECRETS": find_internal_secrets(home)}
    cache = make_cache(home, environment)
    if cache is not None:
        environment["SOUK_CACHE_URL"] = cache[1]
    with ExitStack() as held:
        ports = choose_ports(held)
        programs = make_programs(home, dsn, ports, environment)
        for part in PARTS:
            count = counts.get(part.name, 1)
            say(f"  {part.name} listens at port {ports[part.name]}" + (f", {count} processes" if count > 1 else ""))
        stages = [Stage([cache[0]] if cache is not None else [])]
        for parts in ([part for part in PARTS if not part.is_edge], [part for part in PARTS if part.is_edge]):
            kept = [programs[part.name] for part in parts for _ in range(counts.get(part.name, 1))]
            awaited = [part for part in parts if part.is_edge or part.name in NEEDED_TO_BUY]
            stages.append(Stage(kept, partial(until_ready, [part.health_url(ports[part.name], find_host(part)) for part in awaited])))
        await supervise(stages, asyncio.Event(), lambda: say(f"The shop runs in {len(PARTS)} parts"))


def find_host(part: Part) -> str:
    """The address at which a part of this machine is reached."""
    host = os.environ["SOUK_HOST"]
    return host if part.is_edge and host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104  recognised, not listened at


def find_internal_secrets(home: Path) -> str:
    """What the processes prove to each other that they belong together with."""
    return os.environ.get("SOUK_INTERNAL_SECRETS") or find_secret(home, "internal").decode()


def make_cache(home: Path, environment: Mapping[str, str]) -> tuple[Program, str] | None:
    """The cache's server and its address; None if the shop has been told of one, or there is no server for this machine."""
    if "SOUK_CACHE_URL" in environment or (server := cache_server.find_server()) is None:
        return None
    password = find_secret(home, "cache").decode()
    port = find_free_port()
    return cache_server.make_program(server, home / "cache", port, password, environment), cache_server.address_of(port, password)


def make_programs(home: Path, dsn: str, ports: Mapping[str, int], environment: Mapping[str, str]) -> dict[str, Program]:
    """What runs for each part, and what it is told: its own database and secrets, and where the others are."""
    own = find_separate(home, dsn)
    urls = {part.name: f"http://127.0.0.1:{ports[part.name]}" for part in PARTS if not part.is_edge}
    programs: dict[str, Program] = {}
    for part in PARTS:
        told = {**environment, **peers_of(part, urls)}
        if not part.is_edge:
            told[part.setting] = os.environ.get(part.setting) or own.get(part.name, dsn)
        told |= {name: find_owned(home, name) for name, owner in OWNED_SECRETS.items() if owner == part.name}
        programs[part.name] = Program(part.name, souk(*part.arguments(ports[part.name], shared=True)), told)
    return programs


def find_owned(home: Path, name: str) -> str:
    """A secret that one part is told."""
    return find_secret(home, name.removeprefix("SOUK_SECRET_").lower()).decode()


def choose_ports(held: ExitStack) -> dict[str, int]:
    """Where each part listens: at its usual port if that is free, and the edge where the shop is to be. They are ours as long as `held`.

    The parts share their ports among processes of one user; another shop of that user would share them, too, if nobody held them.
    """
    ports: dict[str, int] = {}
    for part in PARTS:
        host, port = find_host(part), int(os.environ["SOUK_PORT"]) if part.is_edge else part.port
        holder = held.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
        free = part.is_edge or is_free(host, port)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port if free else 0))
        ports[part.name] = holder.getsockname()[1]
    return ports


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there, or holds the port."""
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return True
    return False


def find_free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_ready(urls: list[str]) -> None:
    """Return when all of them can do their work, or after a minute: the rest of the shop does not wait for one that is ill."""
    end = monotonic() + READY_WITHIN_S
    for url in urls:
        while not await asyncio.to_thread(health.is_ready, url):
            if monotonic() > end:
                say(f"Nothing healthy is at {url}; the rest of the shop goes on without it")
                break
            await asyncio.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
