"""A process that hosts the notebook: it answers calls, delivers events, or works the queue and follows the clock, until it is killed.

python -m tests.kit.process answer DSN PORT SECRET
python -m tests.kit.process deliver DSN CONSUMER
python -m tests.kit.process work DSN
python -m tests.kit.process schedule DSN ZONE
python -m tests.kit.process relay DSN PORT SECRET BROKER      answers calls, and relays its outbox
python -m tests.kit.process hear DSN SOURCE SECRET [BROKER]   delivers what a process that relays tells of
"""

import asyncio
import logging
import signal
import sys
from functools import partial

import aiohttp
from tests.kit import chores, notebook

from souk.kit import server
from souk.kit.background import Work, in_background
from souk.kit.brokers import find_adapter
from souk.kit.brokers.links import Link
from souk.kit.brokers.relays import Relay
from souk.kit.calls import topology
from souk.kit.config import find_zone
from souk.kit.db import open_pool
from souk.kit.delivery import Delivery, deliver_forever
from souk.kit.events import CONSUMERS
from souk.kit.feeds import Feed
from souk.kit.internal import Internal
from souk.kit.locks import SessionLocks, while_only_one
from souk.kit.outbox import expose_outbox
from souk.kit.schedules import follow_clock
from souk.kit.wire import HttpPeer
from souk.kit.worker import Worker

# Their jobs are declared where they are imported.
assert chores


async def main(task: str, dsn: str, *options: str) -> None:
    notebook.db.attach(await open_pool(dsn, 5))
    topology.hosted = {"kit"}
    expose_outbox(notebook.db)
    if task == "deliver":
        await deliver(dsn, options[0])
    elif task == "hear":
        await hear(dsn, *options)
    elif task == "work":
        await work(dsn)
    elif task == "schedule":
        say_ready()
        await follow_clock(notebook.db, find_zone(options[0]))
    else:
        port, secret, *broker = options
        listener = server.Listener(Internal((secret,)), "127.0.0.1", int(port))
        async with in_background(make_relay(secret, broker[0]) if broker else {}):
            await server.serve_until_stopped([listener], say_ready, asyncio.Event())


def make_relay(secret: str, broker: str) -> dict[str, Work]:
    link = Link(find_adapter(broker), (secret,))
    return {"broker": link.keep_forever, "relay": Relay(notebook.db, link).run}


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


async def work(dsn: str) -> None:
    locks = SessionLocks(dsn)
    await locks.open()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with in_background({"locks": locks.keep_connected, "queue": Worker(dsn, locks, {"kit": notebook.db}).work_forever}):
        say_ready()
        await stopping.wait()


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
