"""Facts over real brokers: whatever a broker does with them, each is applied once and in order, and none waits for it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
from prometheus_client import REGISTRY
from tests.engines.brokers import Broker as Engine
from tests.kit import notebook
from tests.kit.test_delivery import WRITE_FACT, heard, numbers_heard, parked, run_sql, until_heard, until_parked
from tests.kit.test_outbox import publish_notes, read_all
from tests.waiting import until

from souk.kit.brokers import Broker, Hear, find_adapter, messages
from souk.kit.brokers.links import Link
from souk.kit.brokers.messages import Message, read_message, sign
from souk.kit.brokers.relays import Relay
from souk.kit.delivery import Delivery, deliver_forever
from souk.kit.events import CONSUMERS
from souk.kit.feeds import Feed
from souk.kit.ids import new_id

SECRET = "a-secret-that-both-processes-were-given"
Distort = Callable[[Sequence[Message]], Sequence[Message]]


def as_it_is(messages: Sequence[Message]) -> Sequence[Message]:
    return messages


class Distorting:
    """A broker on whose way something happens to the messages."""

    def __init__(self, broker: Broker, distort: Distort) -> None:
        self._broker = broker
        self._distort = distort
        self.start, self.answers, self.stop = broker.start, broker.answers, broker.stop

    def listen(self, source: str, hear: Hear) -> None:
        self._broker.listen(source, hear)

    async def publish(self, source: str, messages: Sequence[Message]) -> None:
        await self._broker.publish(source, self._distort(messages))


async def relay_on(relay: Relay) -> None:
    """Relay, and take the place again that was left because the broker took nothing."""
    while True:
        await relay.run()


@asynccontextmanager
async def at_work(url: str, distort: Distort = as_it_is, *, relays: bool = True) -> AsyncIterator[Link]:
    """The notebook's outbox is relayed, and its notes are heard over the broker, as if the notebook were in another process."""
    make = find_adapter(url)
    link = Link(lambda: Distorting(make(), distort), (SECRET,))
    feed = Feed("kit", link.listen("kit"))
    delivery = Delivery(CONSUMERS["kit.hear_notes"], "kit", notebook.db, feed)
    work = [link.keep_forever, feed.follow_forever, lambda: deliver_forever(delivery)]
    if relays:
        work.append(partial(relay_on, Relay(notebook.db, link)))
    tasks = [asyncio.create_task(one()) for one in work]
    try:
        yield link
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"source": "kit", **labels}) or 0.0


def ways() -> dict[str, float]:
    return {way: count("souk_facts_read_total", way=way) for way in ("broker", "outbox")}


async def until_trusted(link: Link) -> None:
    """Tell one thing after the other until one is heard over the broker."""

    async def trusted() -> bool:
        await publish_notes(0)
        await asyncio.sleep(0.1)
        return link.listen("kit").trusted

    # A broker that begins anew beside other work takes its time with groups.
    await until(trusted, within_s=90)


async def count_facts() -> int:
    return int(await notebook.db.value("SELECT count(*) FROM kit.outbox"))


async def assert_all_heard_in_order() -> None:
    """Each fact once, and all in the order in which they became final."""
    await until_heard(await count_facts())
    await asyncio.sleep(0.3)
    facts = await read_all()
    assert [one.event_id for one in await heard()] == [fact.event_id for fact in facts]
    assert await parked() == ()


async def test_facts_come_over_the_broker_in_order_each_once(here: str, broker: Engine) -> None:
    async with at_work(broker.url) as link:
        await until_trusted(link)
        before = ways()
        for number in range(100):
            await publish_notes(*range(number * 10, number * 10 + 10))
        await assert_all_heard_in_order()
        assert ways()["broker"] - before["broker"] > 900


def ten_times(messages: Sequence[Message]) -> Sequence[Message]:
    return [message for message in messages for _ in range(10)]


def out_of_order(messages: Sequence[Message]) -> Sequence[Message]:
    return random.Random(len(messages)).sample(messages, len(messages))


def with_holes(messages: Sequence[Message], dice: random.Random = random.Random(20)) -> Sequence[Message]:  # noqa: B008
    return [message for message in messages if dice.random() > 0.2]


def with_all_of_yesterday(messages: Sequence[Message], told: list[Message] = []) -> Sequence[Message]:  # noqa: B006
    told.extend(messages)
    return [*told[-300:], *messages]


def none(messages: Sequence[Message]) -> Sequence[Message]:
    return ()


def late(messages: Sequence[Message], kept: list[Message] = []) -> Sequence[Message]:  # noqa: B006
    """Each batch comes when the next one is sent."""
    sent, kept[:] = list(kept), messages
    return sent


def among_lies(messages: Sequence[Message]) -> Sequence[Message]:
    body = b'[{"specversion": "9.9"}]'
    forged = [Message(one.body.replace(b"number", b"nunber"), one.signature) for one in messages]
    rubbish = [Message(b"\xff\x00", ""), Message(body, sign(body, SECRET))]
    return [*forged, *rubbish, *messages, *rubbish, Message(messages[0].body, "")]


@pytest.mark.parametrize("distort", [ten_times, out_of_order, with_holes, with_all_of_yesterday, none, late, among_lies])
async def test_whatever_happens_on_the_way(here: str, broker: Engine, distort: Distort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LARGEST_BYTES", 800)  # two facts, of which one may be lost with the other
    async with at_work(broker.url, distort):
        for number in range(60):
            await publish_notes(*range(number * 5, number * 5 + random.Random(number).randint(1, 5)))
            await asyncio.sleep(0.02)
        await assert_all_heard_in_order()


async def test_lies_are_counted(here: str, broker: Engine) -> None:
    before = {reason: count("souk_messages_refused_total", reason=reason) for reason in ("forged", "unreadable", "duplicate")}
    async with at_work(broker.url, among_lies) as link:
        await until_trusted(link)
    assert all(count("souk_messages_refused_total", reason=reason) > number for reason, number in before.items() if reason != "duplicate")


async def test_what_cannot_be_applied_is_parked_as_ever(here: str, broker: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.delivery.FIRST_PAUSE_S", 0.001)
    await run_sql("INSERT INTO kit.poison VALUES (666)")
    async with at_work(broker.url) as link:
        await until_trusted(link)
        bad = await publish_notes(666)
        await notebook.write_note(notebook.Note(new_id(), 7))
        await publish_notes(8, note_id=bad)
        assert {letter.aggregate_id for letter in await until_parked(2)} == {bad}
        await until_heard(await count_facts() - 2)
    assert 7 in await numbers_heard() and 8 not in await numbers_heard()


async def test_events_of_a_type_that_nobody_knows_are_passed_over(here: str, broker: Engine) -> None:
    async with at_work(broker.url) as link:
        await until_trusted(link)
        await run_sql(WRITE_FACT.replace("kit.Noted", "kit.Sung"), new_id(), {})
        await publish_notes(5)
        await until_heard(await count_facts() - 1)
    assert (await numbers_heard())[-1] == 5


async def test_a_relay_begins_with_what_is_new_and_goes_on_where_the_last_one_was(
    here: str, broker: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("souk.kit.brokers.relays.SAVE_EVERY_S", 0.0)
    sent: list[Message] = []

    def keep(messages: Sequence[Message]) -> Sequence[Message]:
        sent.extend(messages)
        return messages

    await publish_notes(1, 2, 3)
    old = {fact.event_id for fact in await read_all()}
    async with at_work(broker.url, keep) as link:
        await until_trusted(link)
    first = read_message("kit", sent[0], (SECRET,))[0].fact
    await publish_notes(4)
    async with at_work(broker.url, keep):
        await assert_all_heard_in_order()

        async def all_sent() -> bool:
            told = {one.fact.position for message in sent for one in read_message("kit", message, (SECRET,))}
            return told == {fact.position for fact in await read_all() if fact.position >= first.position}

        await until(all_sent)
    assert first.event_id not in old
    assert len(sent) - len({message.body for message in sent}) <= 1
