"""Whether every consumer has applied the facts that it wants, and none that is not final."""

from collections.abc import AsyncIterator

from souk.audit.reporting import verdict_on
from souk.kit.calls import topology
from souk.kit.delivery import ConsumerPosition, list_positions
from souk.kit.events import CONSUMERS, Consumer
from souk.kit.outbox import START, find_horizon, read_outbox
from souk.kit.rules import Finding, Rule, Verdict

POSITIONS = Rule("I8.positions", "No consumer has passed facts that are not final yet")
APPLIED = Rule("I8.applied", "Every fact is applied by every consumer that wants it, or parked", settled=True)

FACTS_AT_ONCE = 500


async def check_deliveries(*, settled: bool) -> tuple[Verdict, ...]:
    """What becomes of the rules of delivery. A position is read before the horizon, which only moves on."""
    reachable = topology.hosted | topology.peers.keys()
    positions = [one for context in sorted(reachable) for one in await list_positions(context) if one.source in reachable]
    horizons = {source: await find_horizon(source) for source in sorted({one.source for one in positions})}
    early = tuple(
        Finding(f"{one.consumer} of {one.source}", {"position": one.position, "horizon": horizons[one.source][0]})
        for one in positions
        if one.position > horizons[one.source]
    )
    verdicts = [verdict_on(POSITIONS, early)]
    if settled:
        known = {(one.consumer, one.source): one for one in positions}
        verdicts.append(verdict_on(APPLIED, tuple([behind async for behind in find_behind(known)])))
    return tuple(verdicts)


async def find_behind(known: dict[tuple[str, str], ConsumerPosition]) -> AsyncIterator[Finding]:
    """Consumers that have not applied all that they want."""
    for consumer in CONSUMERS.values():
        for source in consumer.sources if consumer.kind != "memory" else ():
            place = known.get((consumer.path, source))
            if waiting := await count_waiting(consumer, source, place):
                yield Finding(f"{consumer.path} of {source}", {"facts_behind": waiting})


async def count_waiting(consumer: Consumer, source: str, place: ConsumerPosition | None) -> int:
    """How many facts of a source a consumer wants and has not applied."""
    waiting, position = 0, place.position if place else START
    while facts := await read_outbox(source, position, FACTS_AT_ONCE, 0):
        waiting += sum(fact.type in consumer.decoders for fact in facts)
        position = facts[-1].position
    return waiting
