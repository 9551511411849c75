"""What a process does beside answering requests: the work of every context that it hosts, out of what they have registered."""

from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from functools import partial

import msgspec

from souk.kit.background import WORKERS, Work
from souk.kit.brokers.links import Link
from souk.kit.brokers.relays import Relay
from souk.kit.db import Database
from souk.kit.delivery import Delivery, deliver_forever, tell_memory
from souk.kit.events import CONSUMERS
from souk.kit.feeds import Feed
from souk.kit.jobs import SWEEPERS
from souk.kit.locks import SessionLocks, while_only_one
from souk.kit.schedules import SCHEDULES, follow_clock
from souk.kit.workload import tell_of_sweepers

Locks = Mapping[str, SessionLocks]


class Hosted(msgspec.Struct, frozen=True):
    """The contexts of this process that share a database, and what tells other processes there what is done here."""

    dsn: str
    lock: SessionLocks
    databases: Mapping[str, Database]


def find_duties(hosted: Sequence[Hosted], peers: Collection[str], link: Link | None, zone: tzinfo) -> dict[str, Work]:
    """All that this process does in the background, by name."""
    duties: dict[str, Work] = {}
    for number, one in enumerate(hosted):
        duties[f"locks {number}"] = one.lock.keep_connected
        duties |= find_queue_duties(number, one, zone)
    databases = {context: database for one in hosted for context, database in one.databases.items()}
    locks = {context: one.lock for one in hosted for context in one.databases}
    duties |= find_own_duties(locks)
    if link is not None:
        duties["broker"] = link.keep_forever
        for context, database in databases.items():
            duties |= alone(locks[context], f"relay {context}", Relay(database, link).run)
    return duties | find_consumer_duties(databases, locks, peers, link)


def find_queue_duties(number: int, hosted: Hosted, zone: tzinfo) -> dict[str, Work]:
    """The queue that these contexts share, their clock, and how their sweepers fare."""
    # A process that hosts no context has no queue, and is smaller by the library.
    from souk.kit.worker import Worker  # noqa: PLC0415

    one, contexts = next(iter(hosted.databases.values())), tuple(hosted.databases)
    duties: dict[str, Work] = {
        f"queue {number}": Worker(hosted.dsn, hosted.lock, dict(hosted.databases)).work_forever,
        f"sweepers {number}": partial(tell_of_sweepers, one, contexts),
    }
    # Two versions of the shop may run side by side: of two that know other times, one has the clock until it ends.
    for context in {schedule.job.context for schedule in SCHEDULES.values()} & hosted.databases.keys():
        duties |= alone(hosted.lock, f"schedules {context}", partial(follow_clock, hosted.databases[context], zone))
    return duties


def find_own_duties(locks: Locks) -> dict[str, Work]:
    """What contexts do without being told: their sweepers, and their work without an end."""
    duties: dict[str, Work] = {}
    for sweeper in SWEEPERS.values():
        if sweeper.context in locks:
            duties |= alone(locks[sweeper.context], f"job {sweeper.path}", sweeper.run_forever)
    for worker in WORKERS.values():
        if worker.context in locks:
            name = f"worker {worker.path}"
            duties |= alone(locks[worker.context], name, worker.run_forever) if worker.alone else {name: worker.run_forever}
    return duties


def find_consumer_duties(databases: Mapping[str, Database], locks: Locks, peers: Collection[str], link: Link | None) -> dict[str, Work]:
    """The consumers of these contexts, each of every source that can be reached, and what they hear."""
    duties: dict[str, Work] = {}
    feeds: dict[str, Feed] = {}
    for consumer in CONSUMERS.values():
        for source in {*databases, *peers}.intersection(consumer.sources) if consumer.context in databases else ():
            if source not in feeds:
                # A source of this process is read where it lies: nothing is nearer.
                feeds[source] = Feed(source, link.listen(source) if link and source in peers else None)
            feed = feeds[source]
            duties[f"feed {source}"] = feed.follow_forever
            name = f"consumer {consumer.path} of {source}"
            if consumer.kind == "memory":
                duties[name] = partial(tell_memory, consumer, source, feed)
                continue
            delivery = Delivery(consumer, source, databases[consumer.context], feed)
            duties |= alone(locks[consumer.context], name, partial(deliver_forever, delivery))
    return duties


def alone(lock: SessionLocks, name: str, work: Work) -> dict[str, Work]:
    """A duty that one process of the shop has at a time."""
    return {name: partial(while_only_one, lock, name, work)}
