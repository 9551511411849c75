"""Whether every consumer has applied the facts that it wants, and none that is not final."""

from collections import Counter
from collections.abc import Sequence

from souk.audit.reporting import verdict_on
from souk.kit.calls import topology
from souk.kit.delivery import list_positions
from souk.kit.events import CONSUMERS, Consumer
from souk.kit.outbox import START, Position, find_horizon, read_outbox
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
        wanting = [one for one in CONSUMERS.values() if one.kind != "memory" and one.context in reachable]
        places = {(one.consumer, one.source): one.position for one in positions}
        late: list[Finding] = []
        for source in sorted({source for one in wanting for source in one.sources if source in reachable}):
            readers = [(one, places.get((one.path, source), START)) for one in wanting if source in one.sources]
            waiting = await count_waiting(source, readers)
            late += [Finding(f"{path} of {source}", {"facts_behind": count}) for path, count in sorted(waiting.items())]
        verdicts.append(verdict_on(APPLIED, tuple(late)))
    return tuple(verdicts)


async def count_waiting(source: str, readers: Sequence[tuple[Consumer, Position]]) -> Counter[str]:
    """How many facts of a source each of its consumers wants and has not applied; read once for all, from where the last of them stands."""
    waiting: Counter[str] = Counter()
    after = min(position for _, position in readers)
    while facts := await read_outbox(source, after, FACTS_AT_ONCE, 0):
        for consumer, position in readers:
            waiting[consumer.path] += sum(fact.position > position and fact.type in consumer.decoders for fact in facts)
        after = facts[-1].position
    return +waiting
