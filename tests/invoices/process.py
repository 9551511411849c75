"""A process that issues invoices, several at once, and tells of each, until it is killed.

python -m tests.invoices.process DSN < parts
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop
from tests.orders.market import as_system

from souk import app, invoices
from souk.app import Settings, Shop


async def main(dsn: str) -> None:
    parts = msgspec.json.decode(sys.stdin.buffer.readline(), type=list[invoices.SoldPart])
    home = Path(tempfile.mkdtemp())
    async with app.opened(Shop(Settings(home=home, pool_size=8), dict.fromkeys(app.CONTEXTS, dsn), {})):
        with as_system():
            await asyncio.gather(*(tell_of(part) for part in parts))
        await asyncio.Event().wait()


async def tell_of(part: invoices.SoldPart) -> None:
    await invoices.issue_invoices((part,))
    sys.stdout.write("issued\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
