"""A letter as it goes over the wire: headers in which nothing but headers can stand, a text and a page, signed if there is a key."""

import binascii
import re
from collections.abc import Sequence
from email.header import Header
from email.utils import formataddr, formatdate, parseaddr
from functools import lru_cache

from souk.notifications.channels.channel import Letter
from souk.notifications.channels.dkim import Header as Line
from souk.notifications.channels.dkim import Signer
from souk.notifications.settings import Settings

CONTROLS = re.compile(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029]")
LONGEST_LINE = 78
# A boundary that no quoted-printable text has in it: there = comes before two hexadecimal digits or the end of a line only.
BOUNDARY = "=_souk_letter"
FRAME = f"--{BOUNDARY}\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
TEXT, PAGE, END = (FRAME % "plain").encode(), (FRAME % "html").encode(), f"--{BOUNDARY}--\r\n".encode()
ONE, TWO = b" text/plain; charset=utf-8", f' multipart/alternative; boundary="{BOUNDARY}"'.encode()


def write_letter(letter: Letter, settings: Settings, signer: Signer | None) -> bytes:
    """The letter's bytes. Raises ValueError for an address or a subject in which there is a line end."""
    headers: list[Line] = [
        write_header("From", write_sender(settings.from_address)),
        write_header("To", letter.to),
        write_header("Subject", letter.subject),
        write_header("Date", formatdate(usegmt=True)),
        write_header("Message-ID", f"<{letter.id}@{settings.from_domain}>"),
        ("MIME-Version", b" 1.0"),
        ("Auto-Submitted", b" auto-generated"),
    ]
    if letter.unsubscribe_url:
        headers.append(write_header("List-Unsubscribe", f"<{letter.unsubscribe_url}>"))
        if letter.unsubscribe_url.startswith("https://"):
            # RFC 8058 knows no other: mail programs that see one distrust the letter.
            headers.append(("List-Unsubscribe-Post", b" List-Unsubscribe=One-Click"))
    if letter.page is None:
        headers += [("Content-Type", ONE), ("Content-Transfer-Encoding", b" quoted-printable")]
        body = quote(letter.text)
    else:
        headers.append(("Content-Type", TWO))
        body = b"".join((TEXT, quote(letter.text), PAGE, quote_page(letter.page), END))
    if signer is not None:
        headers.insert(0, with_space(signer.sign(headers, body)))
    return b"".join([name.encode() + b":" + value + b"\r\n" for name, value in headers]) + b"\r\n" + body


@lru_cache(maxsize=10)
def write_sender(address: str) -> str:
    """The shop's name and address: of these the name alone may be encoded. Raises ValueError for an address that is no ASCII."""
    if CONTROLS.search(address):
        raise ValueError("From has a control character in it")
    return formataddr(parseaddr(address))


def write_header(name: str, value: str) -> Line:
    """A header's line, folded and encoded as it must be. Raises ValueError for a line end or another control in it."""
    if CONTROLS.search(value):
        raise ValueError(f"{name} has a control character in it")
    if value.isascii() and (len(name) + len(value) + 2 <= LONGEST_LINE or " " not in value):
        return name, b" " + value.encode()
    return name, b" " + Header(value, "utf-8" if not value.isascii() else "us-ascii", LONGEST_LINE, name).encode(linesep="\r\n").encode()


def quote(text: str) -> bytes:
    """Quoted-printable, with lines that no server has to break."""
    lines = binascii.b2a_qp(text.replace("\r\n", "\n").encode(), istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def quote_page(pieces: Sequence[str]) -> bytes:
    """Pieces as one quoted-printable text. Those that many letters share are quoted once: it took most of a letter's time."""
    if len(pieces) == 1:
        return quote(pieces[0])
    *first, last = pieces
    quoted = [quote_open(piece) if place % 2 else _quote_shared(piece, is_last=False) for place, piece in enumerate(first)]
    return b"".join((*quoted, _quote_shared(last, is_last=True)))


@lru_cache(maxsize=100)
def _quote_shared(piece: str, *, is_last: bool) -> bytes:
    return quote(piece) if is_last else quote_open(piece)


def quote_open(piece: str) -> bytes:
    """A piece whose last line goes on in the next one, behind a soft line break, for which there is room."""
    return quote(piece + "=").removesuffix(b"=3D\r\n") + b"=\r\n"


def with_space(line: Line) -> Line:
    return line[0], b" " + line[1]
