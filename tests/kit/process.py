"""A process that hosts the notebook: it answers calls, or delivers events, until it is killed.

python -m tests.kit.process answer DSN PORT SECRET
python -m tests.kit.process deliver DSN CONSUMER
"""

import asyncio
import logging
import sys
from functools import partial

from tests.kit import notebook

from souk.kit import server
from souk.kit.calls import topology
from souk.kit.db import open_pool
from souk.kit.delivery import Delivery, deliver_forever
from souk.kit.events import CONSUMERS
from souk.kit.feeds import Feed
from souk.kit.internal import Internal
from souk.kit.locks import SessionLocks, while_only_one
from souk.kit.outbox import expose_outbox


async def main(task: str, dsn: str, *options: str) -> None:
    notebook.db.attach(await open_pool(dsn, 5))
    topology.hosted = {"kit"}
    expose_outbox(notebook.db)
    if task == "answer":
        port, secret = options
        listener = server.Listener(Internal((secret,)), "127.0.0.1", int(port))
        await server.serve_until_stopped([listener], say_ready, asyncio.Event())
    else:
        await deliver(dsn, options[0])


def say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def deliver(dsn: str, consumer: str) -> None:
    locks = SessionLocks(dsn)
    await locks.open()
    feed = Feed("kit")
    delivery = Delivery(CONSUMERS[f"kit.{consumer}"], "kit", notebook.db, feed)
    say_ready()
    await asyncio.gather(
        feed.follow_forever(), while_only_one(locks, f"consumer {consumer}", partial(deliver_forever, delivery), retry_s=0.1)
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    server.run(partial(main, *sys.argv[1:]))
