"""A PDF says what was issued and nothing else, in every script as text, on as many pages as it takes, and is the same file each time."""

import asyncio
import io
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from pypdf import PdfReader
from tests.invoices.billing import sell
from tests.orders.market import as_system
from tests.waiting import until

from souk import invoices
from souk.app import Shop
from souk.invoices import documents
from souk.invoices.documents import print_document, tag, write_task
from souk.invoices.settings import settings
from souk.invoices.types import Content, Corrected, InvoiceLine, Party, ShippingCharge, TaxSum
from souk.kit.errors import Unavailable
from souk.kit.ids import new_id
from souk.kit.money import Money

MARKUP = '#let x = read("/etc/passwd") $x^2$ \\ "q" \'q\' *b* _i_ @ref <label> `raw` // a comment /* */ #[x] {y} & % ~ ^'
SELLER = Party("Lighthouse Ltd", "Harbour 1", None, "Berlin", None, "10115", "DE", "DE123456789")
BUYER = Party("Ada Lovelace", "1 Main St", "Flat 2", "London", None, "N1 1AA", "GB")
ISSUED_AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def make_invoice(lines: int = 2, name: str = "A mug", **more: object) -> invoices.Invoice:
    """An invoice of so many lines of two mugs at 12.00 less 1.00, and 5.00 for shipping."""
    goods = tuple(InvoiceLine(new_id(), f"SKU-{place}", f"{name} {place}", 2, 1200, 100, 190_000, 367, 2300) for place in range(lines))
    total, tax = 2300 * lines + 500, 367 * lines + 80
    values = {"language": "en", "currency": "EUR", "buyer": BUYER, "footer": "HRB 12345", "corrects": None} | more
    content = Content(
        issued_on=ISSUED_AT.date(), seller=SELLER, order_number=1001, ordered_on=date(2026, 3, 1), supplied_on=date(2026, 3, 3),
        tax_included=True, lines=goods, shipping=ShippingCharge(190_000, 80, 500), taxes=(TaxSum(190_000, total - tax, tax),),
        net=total - tax, tax=tax, total=total, **values,  # type: ignore[arg-type]
    )  # fmt: skip
    return invoices.Invoice(
        id=new_id(), order_id=new_id(), seller_id=new_id(), number="LIGHT-2026-000042", content=content,
        kind="credit_note" if content.corrects else "invoice", total=Money(total, content.currency), tax=Money(tax, content.currency),
        issued_at=ISSUED_AT, created_at=ISSUED_AT, updated_at=ISSUED_AT,
    )  # fmt: skip


def read(invoice: invoices.Invoice) -> tuple[PdfReader, str]:
    """The file, and its text with the line breaks taken out."""
    reader = PdfReader(io.BytesIO(print_document(write_task(invoice))))
    return reader, " ".join(" ".join(page.extract_text() for page in reader.pages).replace("\u200b", "").split())


def test_what_stands_on_an_invoice() -> None:
    reader, text = read(make_invoice())
    for part in (
        "Invoice LIGHT-2026-000042", "Bill to Ada Lovelace 1 Main St Flat 2 N1 1AA London United Kingdom",
        "Lighthouse Ltd Harbour 1 10115 Berlin Germany VAT ID DE123456789", "Date March 4, 2026", "Date of supply March 3, 2026",
        "Order 1001", "A mug 0 SKU-0 2 12.00 1.00 19% 23.00", "Shipping €5.00", "19% €42.86 €8.14", "Total €51.00",
        "Unit prices include tax.", "HRB 12345", "Page 1/1",
    ):  # fmt: skip
        assert part in text, part
    assert "U+" not in text
    assert reader.metadata is not None
    assert (reader.metadata.title, reader.metadata.creation_date) == ("Invoice LIGHT-2026-000042", datetime(2026, 3, 4, tzinfo=UTC))


def test_a_credit_note_in_german_in_a_currency_without_decimals() -> None:
    _, text = read(make_invoice(language="de", currency="JPY", corrects=Corrected("LIGHT-2026-000007", date(2026, 2, 1))))
    for part in (
        "Rechnungskorrektur LIGHT-2026-000042", "Korrigiert Rechnung LIGHT-2026-000007 vom 1. Februar 2026", "2 1.200 100 19% 2.300",
        "Gesamtbetrag 5.100", "Vereinigtes Königreich", "USt-IdNr. DE123456789", "Seite 1/1",
    ):  # fmt: skip
        assert part in text, part


def test_text_is_never_read_as_markup() -> None:
    _, text = read(make_invoice(name=MARKUP, buyer=msgspec.structs.replace(BUYER, name=MARKUP), footer=MARKUP))
    written = " ".join(MARKUP.split())
    assert text.count(written) == 4
    assert "root:" not in text


@pytest.mark.parametrize("name", ["Ελένη Παπαδοπούλου", "Ирина Иванова", "Đặng Thị Ngọc", "Łukasz Żółć", "ქართული", "Հայերեն"], ids=ascii)
def test_scripts_that_the_fonts_have(name: str) -> None:
    _, text = read(make_invoice(buyer=Party(name)))
    assert name.replace(" ", "") in text.replace(" ", "")
    assert "U+" not in text


@pytest.mark.parametrize("name", ["محمد", "שלום", "हिन्दी"], ids=ascii)
def test_from_right_to_left_and_with_joined_letters(name: str) -> None:
    _, text = read(make_invoice(buyer=Party(name)))
    assert set(name) <= set(text)
    assert "U+" not in text


@pytest.mark.parametrize("name", ["中文", "日本", "한국", "ไทย", "😀", "𠀀", "Ada 中 Lovelace"], ids=ascii)
def test_characters_that_no_font_has_are_written_as_their_numbers(name: str) -> None:
    _, text = read(make_invoice(buyer=Party(name)))
    for letter in name:
        assert (f"U+{ord(letter):04X}" in text) == (ord(letter) > 127)
    assert "Characters that the fonts of this document do not have" in text
    assert "Total €51.00" in text


def test_control_characters_do_not_keep_an_invoice_from_being_printed() -> None:
    _, text = read(make_invoice(buyer=Party("Ada\x01\n\t\ufffeLovelace")))
    assert "Total €51.00" in text
    assert "Lovelace" in text


def test_500_lines_break_over_pages_with_the_head_on_each() -> None:
    reader, text = read(make_invoice(lines=500))
    assert len(reader.pages) > 10
    for page in reader.pages:
        words = " ".join(page.extract_text().split())
        assert "Item Quantity Unit price" in words
        assert f"/{len(reader.pages)}" in words
    for place in range(500):
        assert f"SKU-{place} 2 12.00" in text
    assert "Total €11,505.00" in text


def test_a_word_that_is_longer_than_its_column_is_broken() -> None:
    reader, text = read(make_invoice(lines=1, name="x" * 180))
    assert len(reader.pages) == 1
    assert "x" * 180 in text.replace(" ", "")
    assert max(len(line.replace("\u200b", "")) for line in reader.pages[0].extract_text().splitlines()) < 90


def test_the_same_bytes_each_time() -> None:
    task = write_task(make_invoice(buyer=Party("中 Ελένη")))
    assert print_document(task) == print_document(task)


async def test_the_file_of_an_invoice_and_its_tag(shop: Shop) -> None:
    sale = await sell()
    mugs, bowls = await sale.bill(sale.mugs), await sale.bill(sale.bowls)
    with as_system():
        first = await invoices.read_invoice_file(mugs.id, None)
        documents._kept.clear()
        again = await invoices.read_invoice_file(mugs.id, '"another"')
        assert (first, first.name) == (again, f"{mugs.number}.pdf")
        assert first.content is not None and first.content.startswith(b"%PDF-")
        known = await invoices.read_invoice_file(mugs.id, f'W/"other", {first.etag}')
        assert (known.etag, known.content) == (first.etag, None)
        other = await invoices.read_invoice_file(bowls.id, first.etag)
        assert other.etag != first.etag
        assert other.content


async def test_who_asks_for_a_file_that_is_being_printed_waits_for_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed, slow = tmp_path / "printed", tmp_path / "slow.py"
    slow.write_text(f"import time; open({str(printed)!r}, 'a').write('x'); time.sleep(0.5); print('a file', end='')")
    monkeypatch.setattr(documents, "PRINTER", slow)
    sale = await sell()
    mugs = await sale.bill(sale.mugs)

    async def is_printing() -> bool:
        return printed.exists()

    with as_system():
        asking = [asyncio.create_task(invoices.read_invoice_file(mugs.id, None)) for _ in range(20)]
        await until(is_printing)
        asking[0].cancel()
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {one.content for one in answers[1:] if isinstance(one, invoices.InvoiceFile)} == {b"a file"}
    assert printed.read_text() == "x"


def test_the_tag_changes_with_what_is_on_the_document() -> None:
    invoice = make_invoice()
    assert tag(write_task(invoice)) == tag(write_task(invoice))
    settings.replace(language="de")
    assert tag(write_task(invoice)) == tag(write_task(invoice)), "what was issued stays in its language"
    settings.replace(fonts="/usr/share/fonts")
    assert tag(write_task(invoice)) != tag(write_task(msgspec.structs.replace(invoice, number="X")))


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    documents._kept.clear()
    monkeypatch.setattr(documents, "MOST_KEPT_BYTES", 10)
    for name in "abcd":
        documents.keep(name, b"1234")
    assert list(documents._kept) == ["c", "d"]
    documents._kept.clear()


async def test_the_shop_goes_on_while_documents_are_printed() -> None:
    loop = asyncio.get_running_loop()
    turns = 0
    tasks = [loop.run_in_executor(documents.printers(), print_document, write_task(make_invoice(lines=500))) for _ in range(3)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.001)
        turns += 1
    assert [(await task)[:5] for task in tasks] == [b"%PDF-"] * 3
    assert turns > 20


def test_a_printer_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LONGEST_PRINT_S", 0.01)
    with pytest.raises(Unavailable):
        print_document(write_task(make_invoice()))


def test_a_printer_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="JSONDecodeError"):
        print_document(b"no task")
