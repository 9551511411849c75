"""Puts a process together: settings, databases, peers, routes, consumers and jobs. The only file that knows all contexts."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
from litestar import Litestar, Router
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from souk import audit, deployment
from souk.kit.auth import TokenPolicy, Verifier
from souk.kit.background import Work, in_background
from souk.kit.bodies import StrictRequest
from souk.kit.brokers import check_broker_url, find_adapter
from souk.kit.brokers.links import Link
from souk.kit.cache import cache
from souk.kit.calls import EXPOSED, topology
from souk.kit.config import BadSettings, find_zone, read_sections, read_settings
from souk.kit.cors import Cors
from souk.kit.db import Database, Pool, open_pool
from souk.kit.deadletters import expose_dead_letters
from souk.kit.delivery import expose_positions
from souk.kit.duties import Hosted, find_duties
from souk.kit.errors import Unavailable
from souk.kit.fastpath import FastRoutes
from souk.kit.front import Front
from souk.kit.housekeeping import schedule_housekeeping
from souk.kit.http import admit
from souk.kit.internal import Internal
from souk.kit.locks import SessionLocks
from souk.kit.migrations import migrate
from souk.kit.outbox import expose_outbox
from souk.kit.overload import overload
from souk.kit.problems import HANDLERS
from souk.kit.rules import expose_rules
from souk.kit.separation import find_separate, separate
from souk.kit.tracing import tracing
from souk.kit.wire import HttpPeer
from souk.kit.workload import expose_workload
from souk.operations.aliases import make_aliases
from souk.operations.docs import PAGE_POLICY, swagger_pages
from souk.operations.watching import watch_forever

CONTEXTS = deployment.CONTEXTS
EDGES = ("operations", "audit")

LARGEST_BODY_BYTES = 8 * 1024 * 1024

# As a browser writes it: small letters, no path, no closing slash.
Origin = Annotated[str, msgspec.Meta(pattern=r"^https?://[a-z0-9.:\[\]-]+(?!\n)$", max_length=300)]


class Settings(msgspec.Struct, frozen=True):
    """What a process needs to know before anything else: SOUK_HOME, SOUK_HOST, SOUK_PORT and so on."""

    home: Path = Path(".souk")
    host: str = "127.0.0.1"
    port: int = 8000
    internal_host: str = "127.0.0.1"
    internal_port: int = 0
    internal_secrets: tuple[Annotated[str, msgspec.Meta(min_length=32)], ...] = ()
    pool_size: int = 4
    log_level: str = "INFO"
    cors_origins: tuple[Origin, ...] = ()
    timezone: str = "UTC"
    broker_url: str = ""

    def __post_init__(self) -> None:
        find_zone(self.timezone)
        if self.broker_url:
            check_broker_url(self.broker_url)


class Shop(msgspec.Struct, frozen=True):
    """Where the contexts of a process are: databases of those it hosts, peers of the others."""

    settings: Settings
    dsns: dict[str, str]
    peers: dict[str, str]


def read_shop(hosted: tuple[str, ...], database_url: str | None) -> Shop:
    """The process's settings out of the environment; raises BadSettings with all that is wrong.

    A hosted context has its database at SOUK_DATABASE_<CONTEXT>, or where `souk up --split` has made one, or in the shared one; another is
    at SOUK_PEER_<CONTEXT>.
    """
    import_contexts()
    settings = Settings()
    mistakes: list[str] = []
    try:
        settings = read_settings(Settings, "SOUK")
    except BadSettings as bad:
        mistakes.extend(bad.mistakes)
    dsns: dict[str, str] = {}
    peers: dict[str, str] = {}
    own = find_separate(settings.home, database_url) if database_url else {}
    for context in CONTEXTS:
        name = context.upper()
        if context in hosted:
            if dsn := os.environ.get(f"SOUK_DATABASE_{name}") or own.get(context) or database_url:
                dsns[context] = dsn
            else:
                mistakes.append(f"{context} is hosted here and has no database: set SOUK_DATABASE_{name} or DATABASE_URL")
        elif peer := os.environ.get(f"SOUK_PEER_{name}"):
            peers[context] = peer
        else:
            mistakes.append(f"{context} is neither hosted here nor has a peer: set SOUK_PEER_{name}")
    if (peers or settings.internal_port) and not settings.internal_secrets:
        mistakes.append("Processes that call each other need one secret: set SOUK_INTERNAL_SECRETS")
    try:
        read_sections()
    except BadSettings as bad:
        mistakes.extend(bad.mistakes)
    if mistakes:
        raise BadSettings(mistakes)
    return Shop(settings, dsns, peers)


def import_contexts() -> None:
    """Import every module of every context, so that all exposed functions, consumers and jobs are known."""
    for context in CONTEXTS:
        import_module(f"souk.{context}")
        for module in ("http", "consumers", "jobs", "settings"):
            _import_if_there(f"souk.{context}.{module}")
    for context in CONTEXTS:
        if f"{context}/read_outbox" not in EXPOSED:
            expose_outbox(database_of(context))
            expose_dead_letters(database_of(context))
            expose_positions(database_of(context))
            expose_workload(database_of(context))
            schedule_housekeeping(database_of(context))
            rules = _import_if_there(f"souk.{context}.rules")
            expose_rules(database_of(context), rules.RULES if rules else ())
    audit.schedule_audit()


def _import_if_there(module: str) -> Any:
    return import_module(module) if find_spec(module) else None


def database_of(context: str) -> Database:
    """The context's Database object."""
    found: Database = import_module(f"souk.{context}.database").db
    return found


async def migrate_all(dsns: dict[str, str], report: Callable[[str], None] = lambda line: None) -> int:
    """Bring every context's schema up to date, database by database; how many files were applied."""
    applied = 0
    for dsn in dict.fromkeys(dsns.values()):
        applied += await migrate(dsn, tuple(context for context, its in dsns.items() if its == dsn), report)
    return applied


async def separate_contexts(dsn: str, report: Callable[[str], None]) -> None:
    """Give each context a database of its own on this server: the one that its setting names, or one beside the shared one."""
    told = {context: address for context in CONTEXTS if (address := os.environ.get(f"SOUK_DATABASE_{context.upper()}"))}
    await separate(find_home(), dsn, CONTEXTS, told, report)


@asynccontextmanager
async def opened(shop: Shop) -> AsyncIterator[None]:
    """Inside, this process's contexts have their databases and reach the others; nothing runs in the background."""
    import_contexts()
    async with AsyncExitStack() as stack:
        pools: dict[str, Pool] = {}
        for dsn in dict.fromkeys(shop.dsns.values()):
            pools[dsn] = await stack.enter_async_context(await open_pool(dsn, shop.settings.pool_size))
        for context, dsn in shop.dsns.items():
            database_of(context).attach(pools[dsn])
            stack.callback(database_of(context).detach)
        await stack.enter_async_context(cache.opened())
        topology.hosted = set(shop.dsns)
        if shop.peers:
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)))
            secret = shop.settings.internal_secrets[0]
            topology.peers = {context: HttpPeer(context, url, secret, session) for context, url in shop.peers.items()}
        stack.callback(_forget_topology)
        yield


def _forget_topology() -> None:
    topology.hosted = set()
    topology.peers = {}


@asynccontextmanager
async def at_work(shop: Shop) -> AsyncIterator[Verifier]:
    """Inside, this process is whole: databases, peers, consumers, jobs and the check of access tokens."""
    part = "edge" if not shop.dsns else next(iter(shop.dsns)) if len(shop.dsns) == 1 else "shop"
    async with tracing.opened(part), opened(shop), AsyncExitStack() as stack:
        locks: dict[str, SessionLocks] = {}
        for dsn in dict.fromkeys(shop.dsns.values()):
            locks[dsn] = SessionLocks(dsn, partial(_tell_owner, tuple(_databases_at(shop, dsn).values())))
            await locks[dsn].open()
            stack.push_async_callback(locks[dsn].close)
        verifier = Verifier()
        hosted = [Hosted(dsn, lock, _databases_at(shop, dsn)) for dsn, lock in locks.items()]
        duties = find_duties(hosted, tuple(shop.peers), _find_link(shop.settings), find_zone(shop.settings.timezone))
        duties["watching"] = partial(watch_forever, shop.settings.home, [database_of(context) for context in shop.dsns])
        if shop.settings.port:
            duties |= _find_public_duties(verifier)
        await stack.enter_async_context(in_background(duties))
        yield verifier


def _databases_at(shop: Shop, dsn: str) -> dict[str, Database]:
    return {context: database_of(context) for context, its in shop.dsns.items() if its == dsn}


def _find_public_duties(verifier: Verifier) -> dict[str, Work]:
    """What this process does for whoever comes to its public listener: who they are, and whether they have to be sent away."""
    asked = {"token policy": partial(verifier.follow, _fetch_token_policy)} if "users/get_token_policy" in EXPOSED else {}
    return {"overload": overload.watch, **asked}


def _find_link(settings: Settings) -> Link | None:
    """The connection to the broker, if one is set."""
    return Link(find_adapter(settings.broker_url), settings.internal_secrets) if settings.broker_url else None


def _tell_owner(databases: Sequence[Database], owner: int) -> None:
    for database in databases:
        database.owner = owner


async def _fetch_token_policy() -> TokenPolicy:
    function = EXPOSED["users/get_token_policy"]
    policy: TokenPolicy = await function.ask(function.argument_type())
    return policy


def make_public_app(shop: Shop, verifier: Verifier) -> Front:
    """The REST API of every context that this process hosts or can reach."""
    served = [context for context in CONTEXTS if context in shop.dsns or context in shop.peers]
    handlers: list[BaseRouteHandler] = []
    for package in (*served, *EDGES):
        if module := _import_if_there(f"souk.{package}.http"):
            handlers.extend(module.routes)
    return make_rest_app(handlers, verifier, shop.settings.cors_origins)


def make_rest_app(handlers: list[BaseRouteHandler], verifier: Verifier, cors_origins: tuple[str, ...] = ()) -> Front:
    """These routes and their aliases behind the edge of the public listener."""
    app = Litestar(
        route_handlers=[*handlers, *make_aliases(handlers)],
        request_class=StrictRequest,
        before_request=admit,
        exception_handlers=HANDLERS,
        openapi_config=describe_api(),
        request_max_body_size=LARGEST_BODY_BYTES,
        logging_config=None,
    )
    return Front(app, FastRoutes(app), verifier, Cors(cors_origins))  # type: ignore[arg-type]


def describe_api() -> OpenAPIConfig:
    """What /openapi.json says beside the routes."""
    schemes: dict[str, Any] = {
        "bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT"),
        "guest": SecurityScheme(type="apiKey", name="Souk-Token", security_scheme_in="header"),
    }
    return OpenAPIConfig(
        title="Souk",
        version="0.1.0",
        description="A self-hosted, headless commerce platform for marketplaces.",
        openapi_router=Router(
            "/docs", route_handlers=[], include_in_schema=False, response_headers={"Content-Security-Policy": PAGE_POLICY}
        ),
        render_plugins=[swagger_pages],
        components=Components(security_schemes=schemes),
    )


def make_internal_app(shop: Shop) -> Internal:
    """The listener for other processes of the shop."""
    return Internal(shop.settings.internal_secrets)


async def learn_token_policy(verifier: Verifier) -> None:
    """Hear of the signing keys before the first request comes, if the users context can be asked."""
    if "users/get_token_policy" not in EXPOSED:
        return
    try:
        verifier.learn(await _fetch_token_policy())
    except Unavailable:
        return


def find_home() -> Path:
    """Where this shop keeps its data: SOUK_HOME."""
    return read_settings(Settings, "SOUK").home
