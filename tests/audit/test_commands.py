"""The command: what it prints, and the exit code by which a program knows."""

import asyncio
import os
import sys

import msgspec
import pytest
from tests.audit.test_checking import FAULTS, plant
from tests.ports import find_free_port


async def run_audit(dsn: str, *options: str) -> tuple[int | None, str]:
    """The command's exit code and what it printed."""
    command = [sys.executable, "-m", "souk", "audit", *options]
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | {"DATABASE_URL": dsn}, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def test_a_shop_in_order(dsn: str) -> None:
    code, printed = await run_audit(dsn, "--json", "--settled")
    report = msgspec.json.decode(printed)
    assert (code, report["broken"]) == (0, 0)
    assert {"id", "statement", "holds", "findings"} <= report["rules"][0].keys()


@pytest.mark.parametrize("as_json", [True, False])
async def test_a_shop_out_of_order(dsn: str, as_json: bool) -> None:
    await plant(dsn, FAULTS["I2.on_hand"])
    code, printed = await run_audit(dsn, *["--json"] * as_json)
    assert code == 1
    if as_json:
        (rule,) = [rule for rule in msgspec.json.decode(printed)["rules"] if not rule["holds"]]
        assert rule["id"] == "I2.on_hand"
        assert rule["findings"][0]["key"].startswith("MUG in ")
    else:
        lines = printed.splitlines()
        assert lines[0].startswith("BROKEN I2.on_hand: ")
        assert lines[1].startswith("  MUG in ")


async def test_what_may_be_under_way_is_asked_for(dsn: str) -> None:
    await plant(dsn, FAULTS["I4.saga"])
    assert (await run_audit(dsn))[0] == 0
    assert (await run_audit(dsn, "--settled"))[0] == 1


async def test_the_books_of_gateways_are_read_when_all_is_settled(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUK_PAYMENTS_SANDBOX_URL", f"http://127.0.0.1:{find_free_port()}")
    monkeypatch.setenv("SOUK_PAYMENTS_SANDBOX_API_KEY", "sk_test")
    assert (await run_audit(dsn))[0] == 0
    code, printed = await run_audit(dsn, "--settled")
    assert code == 1
    assert printed.splitlines()[0] == "BROKEN I6.read: Every gateway's book can be read (1)"
    assert printed.splitlines()[1].startswith('  sandbox: {"could not be read":')
