"""A process that hosts the notebook: it answers calls, or delivers events, until it is killed.

python -m tests.kit.process answer DSN PORT SECRET
python -m tests.kit.process deliver DSN CONSUMER
python -m tests.kit.process relay DSN PORT SECRET BROKER      answers calls, and relays its outbox
python -m tests.kit.process hear DSN SOURCE SECRET [BROKER]   delivers what a process that relays tells of
"""

import asyncio
import logging
import sys
from functools import partial

import aiohttp
from tests.kit import notebook

from souk.kit import server
from souk.kit.background import Work, in_background
from souk.kit.brokers import find_adapter
from souk.kit.brokers.links import Link
from souk.kit.brokers.relays import Relay
from souk.kit.calls import topology
from souk.kit.db import open_pool
from souk.kit.delivery import Delivery, deliver_forever
from souk.kit.events import CONSUMERS
from souk.kit.feeds import Feed
from souk.kit.internal import Internal
from souk.kit.locks import SessionLocks, while_only_one
from souk.kit.outbox import expose_outbox
from souk.kit.wire import HttpPeer


async def main(task: str, dsn: str, *options: str) -> None:
    notebook.db.attach(await open_pool(dsn, 5))
    topology.hosted = {"kit"}
    expose_outbox(notebook.db)
    if task == "deliver":
        await deliver(dsn, options[0])
    elif task == "hear":
        await hear(dsn, *options)
    else:
        port, secret, *broker = options
        listener = server.Listener(Internal((secret,)), "127.0.0.1", int(port))
        async with in_background(make_relay(secret, broker[0]) if broker else {}):
            await server.serve_until_stopped([listener], say_ready, asyncio.Event())


def make_relay(secret: str, broker: str) -> dict[str, Work]:
    link = Link(find_adapter(broker), (secret,))
    return {"broker": link.keep_forever, "relay": Relay(notebook.db, link).run_forever}


async def hear(dsn: str, source: str, secret: str, broker: str = "") -> None:
    """Deliver what another process tells of: the notebook's tables are there, its outbox is asked for over HTTP."""
    link = Link(find_adapter(broker), (secret,)) if broker else None
    async with aiohttp.ClientSession() as session:
        topology.hosted = set()
        topology.peers = {"kit": HttpPeer("kit", source, secret, session)}
        feed = Feed("kit", link.listen("kit") if link else None)
        delivery = Delivery(CONSUMERS["kit.hear_notes"], "kit", notebook.db, feed)
        work = {"feed": feed.follow_forever, "delivery": partial(deliver_forever, delivery)}
        async with in_background(work | ({"broker": link.keep_forever} if link else {})):
            say_ready()
            await asyncio.Event().wait()


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
