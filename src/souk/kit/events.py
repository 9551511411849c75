"""Facts: events that commit with the change they tell of (outbox), and who has subscribed to them."""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from prometheus_client import Counter

from souk.kit.callers import caller
from souk.kit.db import Database, Transaction
from souk.kit.ids import new_id
from souk.kit.memory import Told
from souk.kit.outbox import Position
from souk.kit.sharing import Hearing
from souk.kit.telemetry import FACTS_PUBLISHED

APPEND = """
    INSERT INTO {schema}.outbox (event_id, type, aggregate_id, payload, request_id, traceparent)
    SELECT u.event_id, u.type, u.aggregate_id, u.payload, $5, u.traceparent
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::json[], $6::text[]) WITH ORDINALITY
        AS u (event_id, type, aggregate_id, payload, traceparent, place)
    /* only */
    ORDER BY u.place
"""


class Event(msgspec.Struct, frozen=True):
    """Something that happened, in the past tense. Its first field is the id of what it tells of (the aggregate).

    Events carry ids, amounts and SKUs, never a name, an address, an e-mail or a token: they cannot be erased.
    """


E = TypeVar("E", bound=Event)


class Delivered(Generic[E]):
    """An event on its way to a consumer."""

    __slots__ = ("event", "event_id", "occurred_at")

    def __init__(self, event: E, event_id: UUID, occurred_at: datetime) -> None:
        self.event = event
        self.event_id = event_id
        self.occurred_at = occurred_at


class News:
    """Events on their way into the outbox: the values of a statement that appends them, and who is to hear when it has committed."""

    def __init__(self, events: Sequence[Event], traces: Mapping[UUID, str | None] | None = None) -> None:
        self._events = events
        self._traces = traces  # of each aggregate; without them all belong to the trace that is under way
        self._ids = [new_id() for _ in events]

    @property
    def values(self) -> tuple[object, ...]:
        """What APPEND takes: ids, types, aggregates and payloads as arrays, the request, and the traces."""
        types, aggregates, who = [event_type(type(event)) for event in self._events], [*map(aggregate_of, self._events)], caller()
        traces = [who.traceparent if self._traces is None else self._traces.get(one) for one in aggregates]
        return self._ids, types, aggregates, list(self._events), who.request_id, traces

    def tell(self, database: Database, written: Container[UUID] | None = None) -> None:
        """They are facts now, those of these aggregates if not all: wake who reads the outbox, and tell the memories of this process.

        Those of others hear it through their feeds.
        """
        database.bell.ring()
        for event in self._events:
            if written is None or aggregate_of(event) in written:
                count_published(type(event)).inc()
        now = datetime.now(UTC)
        for consumer in MEMORIES:
            if wanted := tuple(
                Delivered(event, event_id, now)
                for event, event_id in zip(self._events, self._ids, strict=True)
                if type(event) in consumer.events and (written is None or aggregate_of(event) in written)
            ):
                consumer.hear(wanted)


async def publish(tx: Transaction, *events: Event) -> None:
    """Write events into the outbox, in this order; they are facts when the transaction commits, and never were if it does not."""
    if not events:
        return
    news = News(events)
    await tx.run(APPEND.format(schema=tx.database.context), *news.values)
    tx.after_commit.append(partial(news.tell, tx.database))


@cache
def event_type(kind: type[Event]) -> str:
    """The name under which an event is kept and sent: `orders.OrderPlaced`."""
    return f"{source_of(kind)}.{kind.__name__}"


@cache
def count_published(kind: type[Event]) -> Counter:
    """Where events of this type are counted; to look it up by its label costs more than to count."""
    return FACTS_PUBLISHED.labels(event_type(kind))


@cache
def source_of(kind: type[Event]) -> str:
    """The context that announces this event."""
    return kind.__module__.split(".")[1]


def aggregate_of(event: Event) -> UUID:
    """The id of what the event tells of."""
    aggregate_id = getattr(event, event.__struct_fields__[0])
    if not isinstance(aggregate_id, UUID):
        raise TypeError(f"The first field of {type(event).__name__} is to be the id of what it tells of")
    return aggregate_id


Kind = Literal["table", "call", "memory"]
Consume = Callable[..., Any]

CONSUMERS: dict[str, "Consumer"] = {}
MEMORIES: list["Consumer"] = []


class Consumer:
    """A function that applies events, and how it wants them.

    table: `(tx, news)`; the position commits with the effect, so each event is applied exactly once.
    call: `(news)`; it calls others with the event's id as key, then the position is committed: at least once.
    memory: `(news)`, no coroutine; every process that hosts the context hears it, what it did itself at the commit and again
    later, and keeps no position: it begins with what is new.
    """

    def __init__(self, function: Consume, kind: Kind, events: tuple[type[Event], ...], keeps: Told | None = None) -> None:
        self.function = function
        self.kind = kind
        self.keeps = keeps
        self.events = events
        self.context = function.__module__.split(".")[1]
        self.name = function.__name__
        self.path = f"{self.context}.{self.name}"
        self.decoders: dict[str, msgspec.json.Decoder[Event]] = {event_type(event): msgspec.json.Decoder(event) for event in events}
        self.sources = tuple(sorted({source_of(event) for event in events}))
        if self.path in CONSUMERS:
            raise TypeError(f"Two consumers are called {self.path}")
        CONSUMERS[self.path] = self
        if keeps is not None:
            MEMORIES.append(self)
            for source in self.sources:
                keeps.need((self.path, source))

    def hear(self, news: tuple[Delivered[Any], ...], place: Position | None = None) -> None:
        """Tell the memory; a fact that this process has just made has no place yet, and comes again with one."""
        assert self.keeps is not None  # noqa: S101  `remembers` gives it
        if self.keeps.shared is not None:
            self.keeps.hearing = Hearing(tuple(one.event_id for one in news), place)
        self.function(news)


def subscribes(*events: type[Event], kind: Kind = "table") -> Callable[[Consume], Consume]:
    """Register a consumer of these events: it gets tuples of Delivered, in the order in which they happened."""

    def register(function: Consume) -> Consume:
        Consumer(function, kind, events)
        return function

    return register


def remembers(memory: Told, *events: type[Event]) -> Callable[[Consume], Consume]:
    """Register the function by which a memory hears of changes: a consumer of the kind "memory"."""

    def register(function: Consume) -> Consume:
        Consumer(function, "memory", events, memory)
        return function

    return register
