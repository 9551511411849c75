"""A broker may be away, die, hang or lose all it has: no fact is lost, none comes twice, and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import aio_pika
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from tests.engines.brokers import Broker as Engine
from tests.kit import notebook
from tests.kit.conftest import Process
from tests.kit.test_brokers import SECRET, assert_all_heard_in_order, at_work, count, relay_on, until_trusted, ways
from tests.kit.test_delivery import heard, until_heard
from tests.kit.test_outbox import publish_notes
from tests.ports import find_free_port
from tests.waiting import until

from souk.kit.background import in_background
from souk.kit.brokers import find_adapter
from souk.kit.brokers.links import Link
from souk.kit.brokers.relays import Relay
from souk.kit.duties import alone
from souk.kit.locks import SessionLocks

AT_THE_END = """
    SELECT (xid, id) = (SELECT xid, id FROM kit.outbox ORDER BY xid DESC, id DESC LIMIT 1)
    FROM kit.consumer_position WHERE consumer = 'relay'
"""
# What FastStream cannot start it leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed AIOKafka:ResourceWarning")


@asynccontextmanager
async def telling() -> AsyncIterator[None]:
    """Notes are written all the time, one after the other."""

    async def tell() -> None:
        number = 0
        while True:
            number += 1
            await publish_notes(number, number + 1)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_starts_without_a_broker_reads_the_outbox_until_it_is_there(here: str, own_broker: Callable[[], Engine]) -> None:
    broker = own_broker()
    async with at_work(broker.url) as link:
        before = ways()
        await publish_notes(*range(50))
        await until_heard(50)
        assert ways()["broker"] == before["broker"]
        async with telling():
            await asyncio.to_thread(broker.start)
            await until_trusted(link)
            before = ways()

            async def comes_by_broker() -> bool:
                return ways()["broker"] > before["broker"]

            await until(comes_by_broker, within_s=40)
        await assert_all_heard_in_order()


@pytest.mark.timeout(400)
async def test_killed_frozen_and_wiped_under_load_it_costs_no_fact(here: str, own_broker: Callable[[], Engine]) -> None:
    broker = own_broker()
    await asyncio.to_thread(broker.start)
    async with at_work(broker.url) as link:
        await until_trusted(link)
        async with telling():
            for harm in (broker.kill, broker.wipe):
                await asyncio.sleep(0.5)
                harm()
                before = len(await heard())
                await until_heard(before + 100)
                await asyncio.to_thread(broker.start)
                await until_trusted(link)
            await asyncio.sleep(0.5)
            broker.freeze()
            before = len(await heard())
            await until_heard(before + 100)
            broker.thaw()
            await until_trusted(link)
        await assert_all_heard_in_order()


async def until_heard_again(link: Link, broker: Engine) -> None:
    """Remove under the feet of a process that listens, and of another one that relays, what the messages go through."""
    hearer = link.listen("kit")
    await until_trusted(link)
    await remove_all(broker)
    before = count("souk_facts_read_total", way="outbox")

    async def misses() -> bool:
        await publish_notes(0)
        await asyncio.sleep(0.1)
        return not hearer.trusted and count("souk_facts_read_total", way="outbox") > before

    await until(misses)
    await until_trusted(link)
    await assert_all_heard_in_order()


async def remove_all(broker: Engine) -> None:
    if broker.url.startswith("kafka"):
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{broker.port}")
        await admin.start()
        await admin.delete_topics(["souk.kit"])
        await admin.close()
        return
    async with await aio_pika.connect(broker.url) as connection:
        await (await connection.channel()).exchange_delete("souk")


@asynccontextmanager
async def heard_elsewhere(broker: Engine) -> AsyncIterator[Link]:
    """One connection hears, another one relays: the first has nobody who tells it that something is wrong."""
    relaying_link = Link(find_adapter(broker.url), (SECRET,))
    relay = partial(relay_on, Relay(notebook.db, relaying_link))
    async with at_work(broker.url, relays=False) as link, in_background({"broker": relaying_link.keep_forever, "relay": relay}):
        yield link


async def test_who_hears_nothing_any_more_connects_anew(here: str, broker: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.brokers.links.DEAF_AFTER_S", 2.0)
    monkeypatch.setattr("souk.kit.brokers.kafka.LOOK_AGAIN_S", 300.0)
    async with heard_elsewhere(broker) as link:
        await until_heard_again(link, broker)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_a_topic_that_was_removed_is_soon_looked_for_again(here: str, broker: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.brokers.links.DEAF_AFTER_S", 300.0)
    async with heard_elsewhere(broker) as link:
        await until_heard_again(link, broker)


async def lags() -> bool:
    return count("souk_relay_lag_seconds") > 0.2


async def relays() -> bool:
    """Whether a relay knows where it begins: what was told before is not its to send."""
    return bool(await notebook.db.value("SELECT EXISTS (SELECT FROM kit.consumer_position WHERE consumer = 'relay')"))


async def test_what_a_broker_has_not_confirmed_is_told_as_lag(here: str, own_broker: Callable[[], Engine]) -> None:
    broker = own_broker()
    async with at_work(broker.url):
        await until(relays)
        await publish_notes(1)
        await until_heard(1)
        await until(lags)
    assert count("souk_relay_lag_seconds") == 0


@asynccontextmanager
async def black_hole(port: int) -> AsyncIterator[None]:
    """Takes whoever connects, and says nothing."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", port)
    yield
    server.close()
    for writer in writers:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def relaying(dsn: str, url: str) -> AsyncIterator[None]:
    """A process that relays the notebook's facts to the broker that it sees at this address, if it is the one to do so."""
    locks = SessionLocks(dsn)
    await locks.open()
    link = Link(find_adapter(url), (SECRET,))
    async with in_background({"broker": link.keep_forever, **alone(locks, "relay kit", Relay(notebook.db, link).run)}):
        yield
    await locks.close()


async def test_a_relay_from_which_nothing_is_taken_makes_room(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.brokers.relays.PATIENCE_S", 0.5)
    relay = asyncio.create_task(Relay(notebook.db, Link(find_adapter("amqp://nobody"), (SECRET,))).run())
    await until(relays)
    await asyncio.sleep(1.0)
    assert not relay.done()
    await publish_notes(1)
    await asyncio.wait_for(relay, 30)


async def test_who_does_not_reach_the_broker_lets_another_relay(
    here: str, own_broker: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("souk.kit.brokers.relays.PATIENCE_S", 1.0)
    broker, port = own_broker(), find_free_port()
    await asyncio.to_thread(broker.start)
    cut_off = broker.url.replace(str(broker.port), str(port))
    async with black_hole(port), relaying(here, cut_off):
        await until(relays)
        async with relaying(here, broker.url):
            await publish_notes(1, 2, 3)

            async def is_relayed() -> bool:
                return bool(await notebook.db.value(AT_THE_END))

            await until(is_relayed, within_s=40)


async def test_processes_that_are_killed_with_their_broker_apply_each_fact_once(
    here: str, kit_dsn: str, own_broker: Callable[[], Engine], start_process: Callable[..., Process]
) -> None:
    broker, port = own_broker(), str(find_free_port())
    await asyncio.to_thread(broker.start)
    source = start_process("relay", kit_dsn, port, SECRET, broker.url)
    told = 0
    for round_ in range(4):
        hearer = start_process("hear", kit_dsn, f"http://127.0.0.1:{port}", SECRET, broker.url)
        for _ in range(40):
            await publish_notes(told)
            told += 1
            await asyncio.sleep(0.01)
        await until_heard(told - 20)
        hearer.kill()
        if round_ == 1:
            broker.wipe()
            await asyncio.to_thread(broker.start)
        if round_ == 2:
            source.kill()
            source = start_process("relay", kit_dsn, port, SECRET, broker.url)
    start_process("hear", kit_dsn, f"http://127.0.0.1:{port}", SECRET, broker.url)
    await until_heard(told)
    await asyncio.sleep(0.3)
    assert [one.number for one in await heard()] == list(range(told))
