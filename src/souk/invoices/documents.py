"""Documents as PDF: made of what was frozen when they were issued, the same bytes each time."""

import asyncio
import hashlib
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

import msgspec

from souk.invoices.numbering import show
from souk.invoices.reading import find_visible
from souk.invoices.settings import settings
from souk.invoices.types import Invoice, InvoiceFile
from souk.invoices.wording import write_page
from souk.kit.calls import exposed
from souk.kit.errors import Unavailable

PRINTER = Path(__file__).with_name("printing.py")
TEMPLATE = Path(__file__).with_name("invoice.typ")
LONGEST_PRINT_S = 25.0
MOST_KEPT_BYTES = 8 * 1024 * 1024

# Files by their tags, those that were asked for last at the end.
_kept: OrderedDict[str, bytes] = OrderedDict()
# Those that are being printed.
_printing: dict[str, asyncio.Future[bytes]] = {}


@exposed(timeout=30.0)
async def read_invoice_file(invoice_id: UUID, known: str | None) -> InvoiceFile:
    """A document as PDF, without its content if its tag is among those that are known. Changes nothing.

    Raises NotFound for anybody but its buyer, its seller's team and admins.
    """
    invoice = show(await find_visible(invoice_id))
    task = write_task(invoice)
    etag = tag(task)
    name = f"{invoice.number}.pdf"
    if known is not None and etag in known:
        return InvoiceFile(name, etag, None)
    if etag in _kept:
        _kept.move_to_end(etag)
        return InvoiceFile(name, etag, _kept[etag])
    # Who asks may leave, others wait for the same file.
    return InvoiceFile(name, etag, await asyncio.shield(find_printing(etag, task)))


def find_printing(etag: str, task: bytes) -> asyncio.Future[bytes]:
    """The file that is being printed, from now on if it was not: each once, whoever asks for it at the same moment."""
    if etag not in _printing:
        _printing[etag] = asyncio.get_running_loop().run_in_executor(printers(), print_document, task)
        _printing[etag].add_done_callback(partial(end_printing, etag))
    return _printing[etag]


def end_printing(etag: str, printed: asyncio.Future[bytes]) -> None:
    del _printing[etag]
    if not printed.cancelled() and printed.exception() is None:
        keep(etag, printed.result())


def write_task(invoice: Invoice) -> bytes:
    """What the printer is asked for."""
    page = write_page(invoice) | {"issued_on": invoice.content.issued_on}
    return msgspec.json.encode({"page": page, "timestamp": int(invoice.issued_at.timestamp()), "fonts": settings.now.fonts})


def tag(task: bytes) -> str:
    """What tells two files apart without printing them: what is on them, and what lays them out."""
    return f'"{hashlib.blake2b(laid_out_by() + task, digest_size=16).hexdigest()}"'


@cache
def laid_out_by() -> bytes:
    return b"\0".join((TEMPLATE.read_bytes(), PRINTER.read_bytes(), version("typst").encode()))


def keep(etag: str, content: bytes) -> None:
    """Remember a file, and forget what was not asked for the longest."""
    _kept[etag] = content
    while len(_kept) > 1 and sum(map(len, _kept.values())) > MOST_KEPT_BYTES:
        _kept.popitem(last=False)


@cache
def printers() -> ThreadPoolExecutor:
    """So many at a time: each waits for a process that takes a core and some sixty megabytes."""
    return ThreadPoolExecutor(settings.now.renderers, thread_name_prefix="invoices")


def print_document(task: bytes) -> bytes:
    """The file; raises Unavailable if the printer takes too long, and is killed for it."""
    command = [sys.executable, "-I", str(PRINTER)]
    try:
        # Without our environment: it holds the shop's secrets.
        done = subprocess.run(command, input=task, capture_output=True, timeout=LONGEST_PRINT_S, check=False, env={})
    except subprocess.TimeoutExpired as silence:
        raise Unavailable("the printer of invoices did not end in time") from silence
    if done.returncode:
        raise RuntimeError(f"The printer of invoices failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
