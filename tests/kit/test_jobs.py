"""Jobs run again and again, whatever happens in one turn; what runs in the background is begun again, whatever happens to it."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.waiting import until

from souk.kit.background import in_background
from souk.kit.callers import SYSTEM, caller
from souk.kit.errors import Unavailable
from souk.kit.jobs import SWEEPERS, Sweeper, every
from souk.kit.telemetry import JOB_RUNS


@pytest.fixture(autouse=True)
def jobs_of_this_test() -> Iterator[None]:
    before = dict(SWEEPERS)
    yield
    SWEEPERS.clear()
    SWEEPERS.update(before)


def count_of(job: str, outcome: str) -> float:
    return JOB_RUNS.labels(job, outcome)._value.get()


async def test_a_job_goes_on_after_a_bug_and_after_silence(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []
    troubles: list[Exception] = [ZeroDivisionError("a bug"), Unavailable("gone"), ConnectionResetError()]

    @every(0.001)
    async def sweep_things() -> int:
        seen.append(caller())
        if troubles:
            raise troubles.pop(0)
        return 3

    job = SWEEPERS["kit.sweep_things"]
    running = asyncio.create_task(job.run_forever())

    async def ran_often() -> bool:
        return len(seen) >= 6

    await until(ran_often)
    running.cancel()
    assert (job.context, job.every_s) == ("kit", 0.001)
    assert {(who.principal, who.request_id) for who in seen} == {(SYSTEM, "job:kit.sweep_things")}  # type: ignore[attr-defined]
    assert (count_of(job.path, "failed"), count_of(job.path, "unavailable")) == (1, 2)
    assert count_of(job.path, "done") >= 2
    assert job.last is not None
    assert (job.last.outcome, job.last.count) == ("done", 3)
    told = [record.message for record in caplog.records if record.levelname != "INFO"]
    assert told == ["job_failed", "job_interrupted", "job_interrupted"]


def test_two_jobs_of_one_name_are_refused() -> None:
    async def sweep_twice() -> int:
        return 0

    Sweeper(sweep_twice, 1.0)
    with pytest.raises(TypeError, match=r"kit\.sweep_twice"):
        Sweeper(sweep_twice, 1.0)


async def test_what_fails_in_the_background_is_begun_again_and_its_neighbours_do_not_notice(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("souk.kit.background.BEGIN_AGAIN_AFTER_S", 0.001)
    begun: list[str] = []

    async def fail() -> None:
        begun.append("fail")
        raise ZeroDivisionError

    async def end() -> None:
        begun.append("end")

    async def last() -> None:
        begun.append("last")
        try:
            await asyncio.Event().wait()
        finally:
            begun.append("stopped")

    async def begun_again() -> bool:
        return min(begun.count("fail"), begun.count("end")) >= 3

    async with in_background({"fail": fail, "end": end, "last": last}):
        await until(begun_again)
    assert begun.count("last") == 1
    assert begun[-1] == "stopped"
    assert {record.message for record in caplog.records} == {"background_work_failed"}
