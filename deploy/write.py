"""Write compose.yaml, deploy/env/*.env.example, deploy/prometheus and deploy/grafana anew out of the tables and settings of the source.

python -m deploy.write, or `make compose`. A test holds that what is in the repository is what this writes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from deploy.write_watching import write_watching

from souk import app
from souk.deployment import NEEDED_TO_BUY, OWNED_SECRETS, PARTS, Part, peers_of
from souk.kit.config import Section

ROOT = Path(__file__).parents[1]
# Settings of contexts that routes read, too: they are the edge's as well.
READ_AT_THE_EDGE = ("SOUK_USERS_TRUSTED_PROXIES",)
WRITTEN = "# Written by `make compose` out of src/souk/deployment.py and the settings: change those, or deploy/write.py."

HEAD = f"""\
{WRITTEN}
# docs/guides/deploying.md tells how it is used. `sh deploy/make-env.sh` makes the files in deploy/env with secrets of your own.
name: souk

x-souk: &souk
  image: ${{SOUK_IMAGE:-souk:0.1.0}}
  build: .
  restart: unless-stopped
  init: true
  read_only: true
  tmpfs: [/tmp, /data]
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  stop_grace_period: 20s
  networks: [inside, outside]
  environment: &places
    SOUK_HOST: 0.0.0.0
    SOUK_INTERNAL_HOST: 0.0.0.0
    SOUK_HOME: /data
%(peers)s

x-context: &context
  <<: *souk
  depends_on:
    setup: {{condition: service_completed_successfully}}
    cache: {{condition: service_healthy, required: false}}

x-health: &health
  interval: 10s
  timeout: 6s
  retries: 3
  start_period: 60s
  start_interval: 1s

services:
  postgres:
    image: postgres:18
    restart: unless-stopped
    shm_size: 256mb
    stop_grace_period: 60s
    command: ["postgres", "-c", "max_connections=300"]
    env_file: [deploy/env/postgres.env]
    volumes: ["postgres:/var/lib/postgresql"]
    networks: [inside]
    healthcheck:
      <<: *health
      test: ["CMD", "pg_isready", "--quiet", "--host", "127.0.0.1", "--username", "souk"]

  cache:
    image: valkey/valkey:9
    restart: unless-stopped
    user: "999:999"
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    env_file: [deploy/env/cache.env]
    # Told by a file, because everybody sees a command line. Its own client, which asks after its health, reads the same variable.
    entrypoint: ["/bin/sh", "-c"]
    command:
      - umask 077 && echo "requirepass $$REDISCLI_AUTH" >/tmp/valkey.conf && exec valkey-server /tmp/valkey.conf
        --save "" --appendonly no --maxmemory 256mb --maxmemory-policy allkeys-lru
    networks: [inside]
    healthcheck:
      <<: *health
      test: ["CMD", "valkey-cli", "-e", "ping"]

  rabbitmq:
    image: rabbitmq:4
    profiles: [rabbitmq]
    hostname: rabbitmq
    restart: unless-stopped
    stop_grace_period: 60s
    env_file: [deploy/env/rabbitmq.env]
    volumes: ["rabbitmq:/var/lib/rabbitmq"]
    networks: [inside]
    healthcheck:
      <<: *health
      interval: 30s
      timeout: 20s
      test: ["CMD", "rabbitmq-diagnostics", "--quiet", "ping"]

  kafka:
    image: apache/kafka:4.1.0
    profiles: [kafka]
    restart: unless-stopped
    stop_grace_period: 60s
    environment:
      KAFKA_NODE_ID: "1"
      KAFKA_PROCESS_ROLES: broker,controller
      KAFKA_LISTENERS: PLAINTEXT://:9092,CONTROLLER://:9093
      KAFKA_ADVERTISED_LISTENERS: PLAINTEXT://kafka:9092
      KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER
      KAFKA_CONTROLLER_QUORUM_VOTERS: 1@localhost:9093
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1"
      KAFKA_LOG_DIRS: /var/lib/kafka/data
    volumes: ["kafka:/var/lib/kafka/data"]
    networks: [inside]
    healthcheck:
      <<: *health
      interval: 30s
      timeout: 20s
      test: ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server", "localhost:9092"]

  prometheus:
    image: prom/prometheus:v3.5.0
    profiles: [watch]
    restart: unless-stopped
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    env_file: [deploy/env/prometheus.env]
    entrypoint: ["/bin/sh", "-c"]
    command:
      - umask 077 && printf %%s "$$SOUK_METRICS_TOKEN" >/tmp/token && exec prometheus
        --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus --storage.tsdb.retention.time=30d
    volumes: ["./deploy/prometheus:/etc/prometheus:ro", "prometheus:/prometheus"]
    networks: [inside]
    healthcheck:
      <<: *health
      test: ["CMD", "wget", "-q", "--spider", "http://127.0.0.1:9090/-/healthy"]

  grafana:
    image: grafana/grafana:12.1.0
    profiles: [watch]
    restart: unless-stopped
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    env_file: [deploy/env/grafana.env]
    ports: ["127.0.0.1:3000:3000"]
    volumes:
      - ./deploy/grafana/datasources.yml:/etc/grafana/provisioning/datasources/souk.yml:ro
      - ./deploy/grafana/dashboards.yml:/etc/grafana/provisioning/dashboards/souk.yml:ro
      - ./deploy/grafana/souk.json:/etc/grafana/dashboards/souk.json:ro
      - grafana:/var/lib/grafana
    networks: [inside, outside]
    healthcheck:
      <<: *health
      test: ["CMD", "wget", "-q", "--spider", "http://127.0.0.1:3000/api/health"]

  # Makes the databases and roles that are missing, brings them up to date, and ends.
  setup:
    <<: *souk
    restart: "no"
    command: ["migrate", "--separate"]
    env_file: [%(setup_files)s]
    healthcheck: {{disable: true}}
    depends_on:
      postgres: {{condition: service_healthy}}
"""
PART = """
  {name}:
    <<: *{anchor}
    command: [{command}]
    env_file: [deploy/env/shop.env, deploy/env/{name}.env]
{more}    healthcheck:
      <<: *health
      test: ["CMD", "python", "-m", "souk.health", "{health}"]
"""
FOOT = """
networks:
  inside:
    internal: true
  outside: {}

volumes:
  postgres: {}
  media: {}
  rabbitmq: {}
  kafka: {}
  prometheus: {}
  grafana: {}
"""

TOP = "# Copied to {file}, with secrets of your own, by `sh deploy/make-env.sh`; docs/guides/settings.md tells what each variable decides."
SHOP = """\
SOUK_INTERNAL_SECRETS=change-me-internal
SOUK_METRICS_TOKEN=change-me-metrics
SOUK_CACHE_URL=redis://:change-me-cache@cache:6379/0
# One of these with `--profile rabbitmq` or `--profile kafka`; without, the parts read each other's events directly.
# SOUK_BROKER_URL=amqp://souk:change-me-rabbitmq@rabbitmq:5672/
# SOUK_BROKER_URL=kafka://kafka:9092
# SOUK_LOG_LEVEL=INFO
# SOUK_POOL_SIZE=4
"""
OTHERS = {
    "cache": "REDISCLI_AUTH=change-me-cache\n",
    "postgres": "POSTGRES_USER=souk\nPOSTGRES_DB=souk\nPOSTGRES_PASSWORD=change-me-postgres\n",
    "rabbitmq": "RABBITMQ_DEFAULT_USER=souk\nRABBITMQ_DEFAULT_PASS=change-me-rabbitmq\n",
    "prometheus": "SOUK_METRICS_TOKEN=change-me-metrics\n",
    "grafana": "GF_SECURITY_ADMIN_PASSWORD=change-me-grafana\nGF_ANALYTICS_REPORTING_ENABLED=false\nGF_ANALYTICS_CHECK_FOR_UPDATES=false\n",
    "setup": "DATABASE_URL=postgresql://souk:change-me-postgres@postgres:5432/souk\n",
}
DATABASE = "SOUK_DATABASE_{upper}=postgresql://souk_{name}:change-me-{name}@postgres:5432/souk_{name}\n"
OWNED = "{name}=change-me-{lower}\n"


def write_compose() -> str:
    """The whole file."""
    urls = {part.name: f"http://{part.name}:{part.port}" for part in PARTS}
    peers = "\n".join(f"    {name}: {url}" for name, url in peers_of(PARTS[-1], urls).items())
    files = ["shop", "setup", *(part.name for part in PARTS if not part.is_edge)]
    listed = ", ".join(f"deploy/env/{name}.env" for name in files)
    return HEAD % {"peers": peers, "setup_files": listed} + "".join(map(write_part, PARTS)) + FOOT


def write_part(part: Part) -> str:
    """A part as a service."""
    more = ""
    if part.is_edge:
        awaited = {one.name: "service_healthy" if one.name in NEEDED_TO_BUY else "service_started" for one in PARTS if not one.is_edge}
        more = "    # A proxy of yours with TLS belongs before it.\n"
        more += f'    ports: ["127.0.0.1:{part.port}:{part.port}"]\n    depends_on:\n'
        more += "".join(f"      {name}: {{condition: {condition}}}\n" for name, condition in awaited.items())
    elif part.name == "catalog":
        more = '    # Images; with SOUK_CATALOG_S3_ENDPOINT they lie in a bucket.\n    tmpfs: [/tmp]\n    volumes: ["media:/data"]\n'
    return PART.format(
        name=part.name,
        anchor="souk" if part.is_edge else "context",
        command=", ".join(f'"{one}"' for one in part.arguments(part.port)),
        more=more,
        health=part.health_url(part.port),
    )


def write_examples() -> dict[str, str]:
    """What each file of deploy/env is to hold."""
    settings = {context: dict(find_settings(context)) for context in app.CONTEXTS}
    readers = Counter(name for known in settings.values() for name in known)
    shared = {name: value for known in settings.values() for name, value in known.items() if readers[name] > 1}
    every = {name: value for known in settings.values() for name, value in known.items()}
    texts = {"shop": SHOP + comment(shared | dict(find_settings("operations"))), **OTHERS}
    for context, known in settings.items():
        own = {name: value for name, value in known.items() if name not in shared}
        texts[context] = DATABASE.format(name=context, upper=context.upper()) + write_owned(context) + comment(own)
    texts["edge"] = comment({"SOUK_CORS_ORIGINS": ""} | {name: every[name] for name in READ_AT_THE_EDGE})
    return {f"{name}.env.example": f"{TOP.format(file=f'{name}.env')}\n{text}" for name, text in texts.items()}


def write_owned(context: str) -> str:
    """The secrets of the shop that only this part is told."""
    owned = [name for name, owner in OWNED_SECRETS.items() if owner == context]
    return "".join(OWNED.format(name=name, lower=name.removeprefix("SOUK_").lower()) for name in owned)


def find_settings(context: str) -> Iterator[tuple[str, str]]:
    """The variables that a context reads, and what they are without being set."""
    for section in Section.declared:
        if section.kind.__module__.startswith(f"souk.{context}.") and section.prefix != "SOUK":
            for field in msgspec.structs.fields(section.kind):
                default = None if field.default is msgspec.NODEFAULT else field.default
                yield f"{section.prefix}_{field.name}".upper(), show(default)


def show(value: object) -> str:
    """A value as it is written in the environment."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def comment(settings: dict[str, str]) -> str:
    """Settings as lines that say what holds anyway."""
    return "".join(f"# {name}={value}\n" for name, value in settings.items())


def write_all() -> dict[Path, str]:
    """Every file and what it is to hold."""
    app.import_contexts()
    examples = {ROOT / "deploy/env" / name: text for name, text in write_examples().items()}
    return {ROOT / "compose.yaml": write_compose()} | examples | {ROOT / "deploy" / name: text for name, text in write_watching().items()}


def find_outdated(files: Iterable[tuple[Path, str]]) -> list[str]:
    """Those that are not as they are to be."""
    return [str(path.relative_to(ROOT)) for path, text in files if not path.exists() or path.read_text() != text]


if __name__ == "__main__":
    for file, text in write_all().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
