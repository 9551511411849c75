"""The paper that the carrier sticks on a parcel: a PDF of 4 by 6 inches with its own words, as plain as one can be."""

from collections.abc import Iterable


def make_document(lines: Iterable[str]) -> bytes:
    """A page with these lines; what is not ASCII is left to the shop's own labels."""
    shown = "".join(f"0 -24 Td ({escape(line)}) Tj " for line in lines)
    page = f"BT /F1 16 Tf 20 410 Td {shown}ET".encode()
    parts = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 288 432] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    paper, places = bytearray(b"%PDF-1.4\n"), []
    for number, part in enumerate(parts, 1):
        places.append(len(paper))
        paper += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    table = len(paper)
    paper += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    paper += b"".join(b"%010d 00000 n \n" % place for place in places)
    paper += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, table)
    return bytes(paper)


def escape(line: str) -> str:
    plain = line.encode("ascii", "replace").decode()
    return plain.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
