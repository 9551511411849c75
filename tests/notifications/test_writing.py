"""A letter on the wire: what its recipient's program reads is what was written, and nothing else."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from souk.kit.ids import new_id
from souk.notifications.channels.channel import Letter
from souk.notifications.channels.writing import write_letter
from souk.notifications.settings import Settings

SHOP = Settings(from_address="Shop <shop@shop.example>")
NAMES = [
    "From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Auto-Submitted", "List-Unsubscribe", "List-Unsubscribe-Post",
    "Content-Type",
]  # fmt: skip

SUBJECTS = some.text(some.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=200)


def read(raw: bytes) -> EmailMessage:
    found = message_from_bytes(raw, policy=default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.mark.parametrize("name", ["Käsehaus", "Käse, Wein & Brot GmbH", "Cheese, Wine", "店" * 60])
def test_a_shop_has_any_name_and_its_address_stays_one(name: str) -> None:
    raw = write_letter(Letter(new_id(), "ada@x.test", "x", "x"), Settings(from_address=f'"{name}" <shop@kaese.de>'), None)
    (sender,) = read(raw)["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (name, "shop@kaese.de")
    assert b"shop@kaese.de>" in raw


@settings(max_examples=100, deadline=None)
@given(SUBJECTS, some.text(max_size=300), some.lists(some.text(max_size=300), min_size=1, max_size=5))
def test_what_is_written_is_what_is_read(subject: str, text: str, pieces: list[str]) -> None:
    subject, text, *pieces = (one.encode("utf-8", "replace").decode() for one in (subject, text, *pieces))
    html = "".join(pieces)
    letter = Letter(new_id(), "ada@x.test", " ".join(subject.split()), text, tuple(pieces), "https://shop.example/u/" + "x" * 200)
    raw = write_letter(letter, SHOP, None)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert all(len(line) <= 76 for line in raw.partition(b"\r\n\r\n")[2].split(b"\r\n")), "RFC 2045, 6.7"
    assert b"\n" not in raw.replace(b"\r\n", b"")
    message = read(raw)
    assert message.keys() == NAMES
    assert message["Subject"] == letter.subject
    assert message["Message-ID"] == f"<{letter.id}@shop.example>"
    assert message["List-Unsubscribe"] == f"<{letter.unsubscribe_url}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    plain, page = message.iter_parts()
    for part, written in ((plain, text), (page, html)):
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        lines = payload.decode().replace("\r\n", "\n").removesuffix("\n")
        assert lines == written.replace("\r\n", "\n").replace("\r", "\r").removesuffix("\n")


@pytest.mark.parametrize("evil", ["Hi\r\nBcc: all@x.test", "Hi\nBcc: x", "Hi\rBcc: x", "Hi\x00", "Hi\x85Bcc: x", "Hi\u2028Bcc: x"])
@pytest.mark.parametrize("field", ["subject", "to", "unsubscribe_url"])
def test_a_header_is_one_header(field: str, evil: str) -> None:
    fields = {"id": new_id(), "to": "ada@x.test", "subject": "Hi", "text": "", "page": ("",), "unsubscribe_url": None, field: evil}
    with pytest.raises(ValueError, match="control"):
        write_letter(Letter(**fields), SHOP, None)  # type: ignore[arg-type]


def test_one_click_is_offered_where_nobody_listens_in() -> None:
    """RFC 8058, 3.1: the address is an HTTPS one. A shop without a certificate has the link alone."""
    url = "http://127.0.0.1:8000/notifications/unsubscribe/x"
    message = read(write_letter(Letter(new_id(), "ada@x.test", "Hi", "Text", None, url), SHOP, None))
    assert message["List-Unsubscribe"] == f"<{url}>"
    assert "List-Unsubscribe-Post" not in message


def test_what_cannot_be_unsubscribed_from_has_no_such_header() -> None:
    message = read(write_letter(Letter(new_id(), "ada@x.test", "Hi", "Text"), SHOP, None))
    assert "List-Unsubscribe" not in message
    assert message.get_content_type() == "text/plain"
    assert message.get_content().strip() == "Text"
