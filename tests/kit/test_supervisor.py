"""Who is kept is tried again, however it came not to run."""

import asyncio

import pytest
from tests.waiting import until

from souk.kit.supervisor import Program, _keep_alive


async def test_a_program_for_which_there_is_no_room_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    too_long = {"SOUK_HOME": "x" * 10_000_000}
    over = asyncio.Event()
    keeping = asyncio.create_task(_keep_alive(Program("part", ("true",), too_long), over))

    async def has_tried_twice() -> bool:
        assert not keeping.done()
        return caplog.messages.count("worker_not_started") >= 2

    await until(has_tried_twice)
    over.set()
    await keeping
