"""A parcel's label as PDF, 4 by 6 inches: who sends it to whom, a bar code to follow it by, a QR code of the parcel itself."""

import io
import re
from collections.abc import Iterable
from typing import Literal

from babel import Locale
from reportlab.graphics import renderPDF
from reportlab.graphics.barcode.code128 import Code128
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing
from reportlab.pdfgen.canvas import Canvas

from souk.shipping.fonts import clean, fit, fonts, runs_of, width_of
from souk.shipping.numbers import number_of
from souk.shipping.types import Address, Shipment

WIDTH, HEIGHT = 288.0, 432.0
MARGIN = 14.0
INSIDE = WIDTH - 2 * MARGIN
LARGEST, SMALLEST = 14.0, 9.0
QR_SIZE = 92.0
BAR_HEIGHT = 62.0
# Two dots of a label printer (203 per inch), below which scanners begin to fail; wider bars are not needed.
NARROWEST_BAR, WIDEST_BAR = 2 / 203 * 72, 1.4
# What is left white beside the bars, in bars.
QUIET = 10
Placed = Literal["left", "centre", "right"]
BARS = re.compile(r"[\x21-\x7e]{1,40}")


def draw_label(shipment: Shipment, sender: Address | None) -> bytes:
    """The label of a parcel. What does not fit is clipped, what no font has is shown as such."""
    paper = io.BytesIO()
    canvas = Canvas(paper, pagesize=(WIDTH, HEIGHT), initialFontName=fonts()[0].name, invariant=True)
    canvas.setTitle(f"Parcel {number_of(shipment.order_number, shipment.id)}")
    canvas.setCreator("Souk")
    top = HEIGHT - MARGIN - 14
    write(canvas, clean(shipment.shipping_option or "standard").upper(), top, 15, INSIDE * 0.55)
    write(canvas, clean(shipment.carrier or ""), top, 10, INSIDE * 0.42, "right")
    rule(canvas, top - 7)
    write_lines(canvas, lines_of(sender), top - 18, 7.5)
    rule(canvas, top - 66)
    recipient = lines_of(shipment.address)
    write_lines(canvas, recipient, top - 86, choose_size(recipient))
    rule(canvas, 208)
    draw_bars(canvas, shipment)
    rule(canvas, 110)
    draw_square(canvas, str(shipment.id), WIDTH - MARGIN - QR_SIZE, 10)
    write_lines(canvas, facts_of(shipment), 92, 9, INSIDE - QR_SIZE - 6)
    canvas.showPage()
    canvas.save()
    return paper.getvalue()


def draw_bars(canvas: Canvas, shipment: Shipment) -> None:
    """Bars of the tracking number, or of the parcel's own if there is none or it cannot be read from bars of this width."""
    for text in (shipment.tracking_number or "", number_of(shipment.order_number, shipment.id)):
        bars = BARS.fullmatch(text) and Code128(text, barWidth=1.0, barHeight=BAR_HEIGHT, quiet=False)
        bar_width = min((WIDTH / (bars.width + 2 * QUIET)), WIDEST_BAR) if bars else 0.0
        if bar_width >= NARROWEST_BAR:
            drawn = Code128(text, barWidth=bar_width, barHeight=BAR_HEIGHT, quiet=False)
            drawn.drawOn(canvas, (WIDTH - drawn.width) / 2, 134)
            break
    write(canvas, clean(shipment.tracking_number or number_of(shipment.order_number, shipment.id)), 119, 11, INSIDE, "centre")


def draw_square(canvas: Canvas, text: str, x: float, y: float) -> None:
    """A QR code of this size, its white border included."""
    drawing = Drawing(QR_SIZE, QR_SIZE)
    drawing.add(QrCodeWidget(text, barLevel="M", barWidth=QR_SIZE, barHeight=QR_SIZE, barBorder=4))
    renderPDF.draw(drawing, canvas, x, y)


def facts_of(shipment: Shipment) -> tuple[str, ...]:
    weight = f"Weight {shipment.weight_g / 1000:.3f} kg" if shipment.weight_g else ""
    pieces = sum(line.quantity for line in shipment.lines)
    return (
        f"Order {shipment.order_number}",
        f"Parcel {number_of(shipment.order_number, shipment.id)}",
        f"Pieces {pieces}",
        weight,
        f"{shipment.created_at:%Y-%m-%d}",
    )


def lines_of(address: Address | None) -> tuple[str, ...]:
    """An address, line by line; of one that was forgotten nothing."""
    if address is None:
        return ()
    town = " ".join(filter(None, (address.postal_code, address.city, address.region)))
    country = Locale("en").territories.get(address.country, address.country).upper()
    lines = (address.name, address.line1, address.line2 or "", town, country, address.phone_number or "")
    return tuple(line for line in map(clean, lines) if line)


def choose_size(lines: Iterable[str]) -> float:
    """The size in which the longest line fits; what is longer still is clipped."""
    longest = max((width_of(line, LARGEST) for line in lines), default=0.0)
    return max(SMALLEST, min(LARGEST, LARGEST * INSIDE / longest)) if longest else LARGEST


def write_lines(canvas: Canvas, lines: Iterable[str], top: float, size: float, width: float = INSIDE) -> None:
    for number, line in enumerate(line for line in lines if line):
        write(canvas, line, top - number * size * 1.3, size, width)


def write(canvas: Canvas, text: str, y: float, size: float, width: float, placed: Placed = "left") -> None:
    """A line of clean text, no longer than this."""
    shown = fit(text, size, width)
    blank = INSIDE - width_of(shown, size)
    line = canvas.beginText(MARGIN + {"left": 0.0, "centre": blank / 2, "right": blank}[placed], y)
    for run in runs_of(shown):
        line.setFont(run.font, size)
        line.textOut(run.text)
    canvas.drawText(line)


def rule(canvas: Canvas, y: float) -> None:
    canvas.setLineWidth(0.8)
    canvas.line(MARGIN, y, WIDTH - MARGIN, y)
