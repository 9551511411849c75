"""An alarm rings at its time and not before, unless it is cancelled; many of one moment ring together."""

import asyncio
from time import monotonic

from souk.kit.alarms import EVERY_S, alarms_of
from souk.kit.calls import until


async def test_alarms_ring_at_their_times_and_those_that_are_cancelled_do_not() -> None:
    alarms, began = alarms_of(asyncio.get_running_loop()), monotonic()
    rung: dict[str, float] = {}
    alarms.set(began + 0.15, lambda: rung.setdefault("later", monotonic() - began))
    alarms.set(began + 0.05, lambda: rung.setdefault("soon", monotonic() - began))
    alarms.set(began + 0.05, lambda: rung.setdefault("never", monotonic() - began)).cancel()
    alarms.set(began - 1, lambda: rung.setdefault("past", monotonic() - began))
    await asyncio.sleep(0.15 + 2 * EVERY_S + 0.05)
    assert list(rung) == ["past", "soon", "later"]
    assert rung["soon"] >= 0.05
    assert rung["later"] >= 0.15


async def test_an_alarm_that_rings_may_cancel_its_neighbour_and_itself() -> None:
    alarms = alarms_of(asyncio.get_running_loop())
    rung, when = [], monotonic() + 0.05
    pair = [alarms.set(when, lambda: ring(0)), alarms.set(when, lambda: ring(1))]

    def ring(number: int) -> None:
        rung.append(number)
        for alarm in pair:
            alarm.cancel()

    await asyncio.sleep(0.2)
    assert len(rung) == 1


def test_every_loop_has_its_own_alarms() -> None:
    async def ring_soon() -> bool:
        rung = asyncio.Event()
        alarms_of(asyncio.get_running_loop()).set(monotonic() + 0.05, rung.set)
        await asyncio.sleep(0.15)
        return rung.is_set()

    async def leave_one_behind() -> None:
        alarms_of(asyncio.get_running_loop()).set(monotonic() + 0.05, lambda: None)

    asyncio.run(leave_one_behind())
    assert asyncio.run(ring_soon())


async def test_a_cancellation_from_outside_is_no_deadline() -> None:
    async def wait() -> None:
        with until(monotonic() + 60):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
