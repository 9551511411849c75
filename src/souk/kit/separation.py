"""Databases of contexts' own on one server: which have one, and how one is made, with a role that enters no other."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg
import msgspec

from souk.kit.verifiers import make_verifier

FIND_TOGETHER = "SELECT DISTINCT context FROM public.souk_migration"
HAS_REGISTER = "SELECT to_regclass('public.souk_migration') IS NOT NULL"
MAY_SEPARATE = """
    SELECT rolsuper AS super, rolsuper OR (rolcreaterole AND rolcreatedb) AS allowed FROM pg_roles WHERE rolname = current_user
"""
HAS_ROLE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
HAS_DATABASE = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"

# By context.
Passwords = dict[str, str]


class Role(msgspec.Struct, frozen=True):
    """Who owns a context's database."""

    name: str
    password: str
    database: str


class CannotSeparate(Exception):
    """Why contexts cannot have databases of their own here, in one sentence."""


def server_of(dsn: str) -> str:
    """A server and its shared database, as a file may name it: no role, no password, and no folder that may be moved."""
    address = urlsplit(dsn)
    return f"{address.netloc.rpartition('@')[2]}{address.path}"


def address_of(dsn: str, name: str, password: str) -> str:
    """The database `name` on the same server, for the role of the same name."""
    address = urlsplit(dsn)
    place = f"{quote(name, safe='')}:{quote(password, safe='')}@{address.netloc.rpartition('@')[2]}"
    return urlunsplit(address._replace(netloc=place, path=f"/{quote(name, safe='')}"))


def name_of(dsn: str, context: str) -> str:
    """What a context's own database and its role are called, beside the shared database."""
    return f"{unquote(urlsplit(dsn).path.removeprefix('/')) or 'souk'}_{context}"


def find_separate(home: Path, dsn: str) -> dict[str, str]:
    """The addresses of the contexts that have a database of their own on this server, as SOUK_HOME knows."""
    known = _read(home).get(server_of(dsn), {})
    return {context: address_of(dsn, name_of(dsn, context), password) for context, password in known.items()}


async def separate(home: Path, dsn: str, contexts: Sequence[str], told: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Give each context a database of its own on this server if it has none. A context that lives in the shared one stays there.

    Whose address is `told` (by context) gets what it says, if that is on this server; the others get a name and a password of ours, which
    lie in SOUK_HOME from then on. The role in `dsn` makes roles and databases. Raises CannotSeparate.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        together = await _find_together(connection) - told.keys()
        if staying := [context for context in contexts if context in together]:
            report(f"Stays in the shared database, where its data is: {', '.join(staying)}")
        for address in told.values():
            place = urlsplit(address)
            if is_beside(dsn, address) and place.username and place.password:
                role = Role(unquote(place.username), unquote(place.password), unquote(place.path.removeprefix("/")))
                await make_database(connection, role)
        known = find_separate(home, dsn).keys() | together | told.keys()
        for context in contexts:
            if context not in known:
                name = name_of(dsn, context)
                role = Role(name, secrets.token_hex(24), name)
                await make_database(connection, role)
                _remember(home, server_of(dsn), context, role.password)
    finally:
        await connection.close()


def is_beside(dsn: str, other: str) -> bool:
    """Whether two addresses are of different databases on one server."""
    first, second = urlsplit(dsn), urlsplit(other)
    same = first.netloc.rpartition("@")[2] == second.netloc.rpartition("@")[2] and first.query == second.query
    return same and first.path != second.path


async def _find_together(connection: asyncpg.Connection) -> set[str]:
    if not await connection.fetchval(HAS_REGISTER):
        return set()
    return {row["context"] for row in await connection.fetch(FIND_TOGETHER)}


async def make_database(connection: asyncpg.Connection, role: Role) -> None:
    """A role and its database, which no other role may enter; made again, it gets this password. Raises CannotSeparate."""
    rights = await connection.fetchrow(MAY_SEPARATE)
    if rights is None or not rights["allowed"]:
        raise CannotSeparate("The role of DATABASE_URL may not make roles and databases: grant it CREATEROLE and CREATEDB")
    quoted, database, verifier = _quote(role.name), _quote(role.database), make_verifier(role.password)
    verb = "ALTER" if await connection.fetchval(HAS_ROLE, role.name) else "CREATE"
    await connection.execute(f"{verb} ROLE {quoted} LOGIN PASSWORD '{verifier}'")
    if not rights["super"]:
        await connection.execute(f"GRANT {quoted} TO CURRENT_USER")
    if not await connection.fetchval(HAS_DATABASE, role.database):
        await connection.execute(f"CREATE DATABASE {database} OWNER {quoted}")
    # Whoever may connect to a server may enter every database of it, unless told otherwise.
    await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _file(home: Path) -> Path:
    return home / "secrets" / "databases.json"


def _read(home: Path) -> dict[str, Passwords]:
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=dict[str, Passwords])
    except FileNotFoundError:
        return {}


def _remember(home: Path, server: str, context: str, password: str) -> None:
    """Write one more password down; the file is there whole or not at all."""
    known = _read(home)
    known.setdefault(server, {})[context] = password
    file = _file(home)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        new.write(msgspec.json.encode(known))
        new.flush()
        os.fsync(new.fileno())
    partial.replace(file)
