"""The audit against the book of the sandbox, a process of its own: what only one of the two has is found, and so is a book out of reach."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from tests.audit.history import check, order_mugs
from tests.orders.market import as_system
from tests.payments.conftest import use_sandbox
from tests.ports import find_free_port
from tests.sandbox.conftest import API_KEY, Sandbox

from souk import audit, payments
from souk.app import Shop
from souk.audit import RuleReport, comparing
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.rules import Finding
from souk.payments import reconciling
from souk.payments.database import db
from souk.payments.settings import Settings, settings


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The gateway of the shop from now on, whose webhooks get lost; what was booked before its book is read is looked for there."""
    monkeypatch.setattr(comparing, "AGAIN_AFTER_S", 0.05)
    monkeypatch.setattr(reconciling, "MARGIN_S", 0.0)
    nowhere = f"http://127.0.0.1:{find_free_port()}"
    sandbox = Sandbox(home=str(tmp_path / "sandbox"), webhook_url=nowhere, timeout_s=0.6).start()
    settings._read = Settings()
    use_sandbox(sandbox)
    yield sandbox
    settings._read = Settings()
    sandbox.end()


async def broken(*, settled: bool) -> dict[str, RuleReport]:
    """The rules about gateways that do not hold. No consumer works here, so that others wait for theirs."""
    report = await check(settled=settled)
    checked = {rule.id: rule for rule in report.rules if rule.id in ("I6.gateways", "I6.read")}
    assert len(checked) == (2 if settled else 1)
    return {rule_id: rule for rule_id, rule in checked.items() if not rule.holds}


def forget(sandbox: Sandbox, kind: str) -> None:
    """The gateway's book loses its newest line of a kind, as it cannot by itself."""
    with closing(sqlite3.connect(sandbox.home / "sandbox.db")) as book:
        book.execute("DROP TRIGGER operations_last")
        assert book.execute("DELETE FROM operations WHERE seq = (SELECT max(seq) FROM operations WHERE kind = ?)", (kind,)).rowcount == 1
        book.commit()


async def test_what_both_books_have_is_in_order(shop: Shop, sandbox: Sandbox) -> None:
    order = await order_mugs(1)
    await order_mugs(2, token="tok_declined")
    await give_back(order.id)
    assert await broken(settled=True) == {}
    stands = "SELECT count(*) FROM payments.book_entry WHERE payment_id = $1 AND gateway = 'sandbox'"
    assert await db.value(stands, order.id) == 2, "the capture and the refund were looked for and found"


async def give_back(order_id: UUID) -> None:
    with as_system():
        back = await payments.refund(payments.RefundPayment(new_id(), order_id, Money(500, "USD"), "a scratch"))
    assert back.status == "succeeded"


@pytest.mark.parametrize("kind", ["capture", "refund"])
async def test_what_the_gateway_has_not_is_found_and_closed(shop: Shop, sandbox: Sandbox, kind: str) -> None:
    order = await order_mugs(1)
    await give_back(order.id)
    forget(sandbox, kind)
    assert await broken(settled=False) == {}, "nobody has read its book yet"
    found = await broken(settled=True)
    assert found.keys() == {"I6.gateways"}
    [finding] = found["I6.gateways"].findings
    assert (finding.found["gateway"], finding.found["source"], finding.found["payment_id"]) == ("sandbox", "ledger", str(order.id))
    assert finding.found["external_id"].startswith(f"{kind}:")
    assert (await broken(settled=False)).keys() == {"I6.gateways"}, "from now on it is known"
    with as_system():
        await payments.close_discrepancy(UUID(finding.key), "asked the bank")
    assert await broken(settled=True) == {}


async def test_what_only_the_gateway_has_is_found(shop: Shop, sandbox: Sandbox) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    sale = {"amount": 700, "currency": "USD", "token": "tok_visa", "reference": f"{new_id()}.{new_id()}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(f"{sandbox.url}/v1/charges", json=sale) as answer:
        assert answer.status == 201
    found = await broken(settled=True)
    assert found.keys() == {"I6.gateways"}
    assert found["I6.gateways"].findings[0].found["reason"] == "no attempt of ours"


async def test_a_gateway_that_is_down_is_said_to_be(shop: Shop, sandbox: Sandbox) -> None:
    await order_mugs(1)
    forget(sandbox, "capture")
    sandbox.end(signal.SIGKILL)
    found = await broken(settled=True)
    assert found.keys() == {"I6.read"}
    [finding] = found["I6.read"].findings
    assert finding.key == "sandbox"
    assert finding.found["could not be read"]
    assert next(audit.describe(await check(settled=True))).startswith("BROKEN I6.read: Every gateway's book can be read (1)")
    assert await broken(settled=False) == {}


async def test_a_gateway_that_keeps_silent_is_not_waited_for(shop: Shop, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "LONGEST_READING_S", 0.2)
    assert sandbox.process is not None
    sandbox.process.send_signal(signal.SIGSTOP)
    settings.replace(gateway_timeout_s=30.0)
    found = await broken(settled=True)
    sandbox.process.send_signal(signal.SIGCONT)
    assert found["I6.read"].findings == (Finding("sandbox", {"could not be read": "not read within 0.2 seconds"}),)
    assert await broken(settled=True) == {}
