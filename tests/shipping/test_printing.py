"""What a label says can be read by people and by scanners, whatever is in a name."""

import io
from datetime import UTC, datetime
from pathlib import Path
from time import thread_time

import pypdf
import pypdfium2
import pytest
import reportlab
import zxingcpp
from tests.shipping.parcels import ADDRESS

from souk.kit.ids import new_id
from souk.shipping import Address, Shipment, ShipmentLine
from souk.shipping.fonts import UNKNOWN, clean, fit, width_of
from souk.shipping.numbers import number_of
from souk.shipping.printing import INSIDE, draw_label
from souk.shipping.settings import Settings, settings

# The printers for which labels are made have 203 dots to the inch.
DOTS = 203 / 72
SENDER = Address(name="Lighthouse Mugs", line1="Hafenstr. 7", city="Leipzig", postal_code="04109", country="DE")


def parcel(**fields: object) -> Shipment:
    now = datetime.now(UTC)
    known: dict[str, object] = {
        "id": new_id(), "order_id": new_id(), "order_number": 1_000_123, "seller_id": new_id(), "status": "packed",
        "lines": (ShipmentLine(new_id(), "MUG", "Mug", 2), ShipmentLine(new_id(), "POT", "Pot", 1)), "shipping_option": "express",
        "address": ADDRESS, "version": 1, "created_at": now, "updated_at": now, "weight_g": 750, "tracking_number": "SX123456789DE",
        "carrier": "sandbox",
    }  # fmt: skip
    return Shipment(**(known | fields))  # type: ignore[arg-type]


def read_text(pdf: bytes) -> str:
    (page,) = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return page.extract_text()


def scan(pdf: bytes) -> dict[str, str]:
    """What a scanner reads off the printed paper."""
    paper = pypdfium2.PdfDocument(pdf)[0].render(scale=DOTS).to_pil()
    return {str(found.format): found.text for found in zxingcpp.read_barcodes(paper)}


def find_ink_at_the_edge(pdf: bytes) -> int:
    """The darkest dot within a twelfth of an inch of the paper's edge: 255 is white."""
    paper = pypdfium2.PdfDocument(pdf)[0].render(scale=DOTS).to_pil().convert("L")
    width, height = paper.size
    strips = ((0, 0, 17, height), (width - 17, 0, width, height), (0, 0, width, 17), (0, height - 17, width, height))
    return min(paper.crop(strip).getextrema()[0] for strip in strips)


def test_a_label_is_four_by_six_inches_and_says_who_sends_what_to_whom() -> None:
    shown = parcel()
    pdf = draw_label(shown, SENDER)
    (page,) = pypdf.PdfReader(io.BytesIO(pdf)).pages
    assert (float(page.mediabox.width) / 72, float(page.mediabox.height) / 72) == (4, 6)
    text = read_text(pdf)
    said = ("EXPRESS", "sandbox", "Lighthouse Mugs", "04109 Leipzig", "Ada", "1 Main St", "10115 Berlin", "GERMANY", "SX123456789DE",
            "Order 1000123", f"Parcel {number_of(shown.order_number, shown.id)}", "Pieces 3", "Weight 0.750 kg")  # fmt: skip
    assert [words for words in said if words not in text] == []


@pytest.mark.parametrize("number", ["SX123456789DE", "1Z999AA10123456784", "9400111899223197428490", "JJD0099999999999999999"])
def test_a_scanner_reads_the_tracking_number_and_the_parcel(number: str) -> None:
    shown = parcel(tracking_number=number)
    assert scan(draw_label(shown, None)) == {"Code 128": number, "QR Code": str(shown.id)}


@pytest.mark.parametrize("number", [None, "Ω-42", "X" * 60, "two words", "a\tb"])
def test_a_number_that_bars_cannot_carry_gives_way_to_the_parcels_own(number: str | None) -> None:
    shown = parcel(tracking_number=number)
    assert scan(draw_label(shown, None))["Code 128"] == number_of(shown.order_number, shown.id)


@pytest.mark.parametrize("name", ["Łukasz Źdźbło", "Ελένη Παπαδοπούλου", "Юрий Щукин", "Đặng Thị Ánh", "Şükrü Çağlar", "Zoë O'Brien"])
def test_names_of_europe_and_vietnam_are_readable(name: str) -> None:
    text = read_text(draw_label(parcel(address=Address(name, name, name, "10115", "PL")), SENDER))
    assert text.count(name) == 3
    assert UNKNOWN not in text


@pytest.mark.parametrize("name", ["李小龙", "محمد", "Ada 😀 Lovelace", "a\x00b\x07c", "\u202eadA", "e\u0301", "\U0010ffff", "", " "])
def test_what_no_font_has_does_no_harm(name: str) -> None:
    shown = parcel(address=Address(name, "1 Main St", "Berlin", "10115", "DE"))
    pdf = draw_label(shown, SENDER)
    assert "1 Main St" in read_text(pdf)
    assert scan(pdf)["QR Code"] == str(shown.id)
    assert find_ink_at_the_edge(pdf) == 255


def test_the_shops_own_font_is_used_for_what_noto_sans_lacks() -> None:
    asked = parcel(address=Address("Ada ∑", "1 Main St", "Berlin", "10115", "DE"))
    assert UNKNOWN in read_text(draw_label(asked, None))
    settings.replace(label_fonts=(str(Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"),))
    try:
        assert "Ada ∑" in read_text(draw_label(asked, None))
    finally:
        settings.replace(label_fonts=Settings().label_fonts)


def test_nothing_is_written_beyond_the_edge() -> None:
    long = "W" * 200
    address = Address(long, long, long, long[:20], "DE", long, long, long[:40])
    pdf = draw_label(parcel(address=address, shipping_option="w" * 40, carrier=long[:100], tracking_number=long[:100]), address)
    assert find_ink_at_the_edge(pdf) == 255
    assert "…" in read_text(pdf)


def test_a_text_is_cut_to_what_fits() -> None:
    assert fit("Ada", 14, INSIDE) == "Ada"
    cut = fit("W" * 200, 14, INSIDE)
    assert cut.endswith("W…")
    assert width_of(cut, 14) <= INSIDE < width_of(cut[:-1] + "W…", 14)
    assert clean(" a\n\tb\x00\u202ec ") == "a b c"


def test_a_parcel_whose_buyer_is_forgotten_has_a_label_without_them() -> None:
    text = read_text(draw_label(parcel(address=None), None))
    assert "Order 1000123" in text
    assert "Berlin" not in text


def test_the_same_parcel_has_the_same_label() -> None:
    shown = parcel()
    assert draw_label(shown, SENDER) == draw_label(shown, SENDER)


def test_a_label_is_quickly_drawn() -> None:
    """About 20 ms of CPU where this was written."""
    draw_label(parcel(), SENDER)
    took_s = []
    for _ in range(5):
        began = thread_time()
        draw_label(parcel(), SENDER)
        took_s.append(thread_time() - began)
    assert min(took_s) < 0.05
