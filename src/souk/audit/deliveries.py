"""Whether every consumer has applied the facts that it wants, and none that is not final."""

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
        wanting = [one for one in CONSUMERS.values() if one.kind != "memory" and one.context in reachable]
        pairs = [(one, source) for one in wanting for source in one.sources if source in reachable]
        waiting = [(one, source, await count_waiting(one, source, known.get((one.path, source)))) for one, source in pairs]
        late = tuple(Finding(f"{one.path} of {source}", {"facts_behind": count}) for one, source, count in waiting if count)
        verdicts.append(verdict_on(APPLIED, late))
    return tuple(verdicts)


async def count_waiting(consumer: Consumer, source: str, place: ConsumerPosition | None) -> int:
    """How many facts of a source a consumer wants and has not applied."""
    waiting, position = 0, place.position if place else START
    while facts := await read_outbox(source, position, FACTS_AT_ONCE, 0):
        waiting += sum(fact.type in consumer.decoders for fact in facts)
        position = facts[-1].position
    return waiting
