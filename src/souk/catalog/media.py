"""Where pictures are kept: files with random names, in a folder of the shop or in a bucket."""

import asyncio
import re
from pathlib import Path
from typing import Protocol

from souk.catalog.buckets import Bucket, Credentials
from souk.catalog.settings import place, settings
from souk.kit.calls import exposed
from souk.kit.errors import NotFound

NAME = re.compile(r"[0-9a-f]{32}(-\d{2,4})?\.webp")


class Storage(Protocol):
    """Keeps files under names that never mean anything else later."""

    async def put(self, name: str, content: bytes) -> None:
        """Keep a file; again replaces it."""

    async def read(self, name: str) -> bytes:
        """The file; raises NotFound."""

    async def remove(self, name: str) -> None:
        """Forget a file; one that is not there is forgotten already."""


class Folder:
    """A folder on this machine, in sub-folders so that none grows too large."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, name: str) -> Path:
        return self.root / name[:2] / name

    async def put(self, name: str, content: bytes) -> None:
        await asyncio.to_thread(self._write, self.path_of(name), content)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first: nobody reads half a file, and a full disk leaves none behind under the true name.
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(content)
        unfinished.replace(path)

    async def read(self, name: str) -> bytes:
        try:
            return await asyncio.to_thread(self.path_of(name).read_bytes)
        except FileNotFoundError as missing:
            raise NotFound from missing

    async def remove(self, name: str) -> None:
        await asyncio.to_thread(self.path_of(name).unlink, missing_ok=True)


def storage() -> Storage:
    """Where this shop keeps its pictures."""
    chosen = settings.now
    if chosen.s3_endpoint is None:
        return Folder(place.now.home / "media")
    return Bucket(f"{chosen.s3_endpoint.rstrip('/')}/{chosen.s3_bucket}", Credentials(chosen.s3_key_id, chosen.s3_secret, chosen.s3_region))


def base_url() -> str:
    """What a file's name is appended to in a link."""
    return settings.now.media_url


@exposed()
async def read_media(name: str) -> bytes:
    """A picture's file; raises NotFound. Changes nothing."""
    if not NAME.fullmatch(name):
        raise NotFound
    return await storage().read(name)
