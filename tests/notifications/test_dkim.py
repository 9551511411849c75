"""A signature that a verifier of somebody else's believes, and that nothing can be changed under."""

from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from souk.kit.ids import new_id
from souk.notifications.channels.channel import Letter
from souk.notifications.channels.dkim import Signer
from souk.notifications.channels.writing import write_letter
from souk.notifications.settings import Settings

PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def signer(key: rsa.RSAPrivateKey, tmp_path: Path) -> Signer:
    file = tmp_path / f"{new_id()}.pem"
    file.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return Signer("shop.example", "souk", str(file))


def believes(raw: bytes, key: rsa.RSAPrivateKey) -> bool:
    lines = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).splitlines()[1:-1]
    record = b"v=DKIM1; k=rsa; p=" + b"".join(lines)

    def look_up(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"souk._domainkey.shop.example."
        return record

    return bool(dkim.verify(raw, dnsfunc=look_up))


LETTERS = {
    "plain": Letter(new_id(), "ada@x.test", "Hello", "Hi  there \n\n\n"),
    "page": Letter(new_id(), "ada@x.test", "Grüße " * 30, "Größe = 1\n.\n", ("<p>Größe</p>\n" * 50,), "https://shop.example/u/abc"),
    "empty": Letter(new_id(), "ada@x.test", "", "", ("",), None),
}


@pytest.mark.parametrize("name", LETTERS)
def test_another_verifier_believes_it(key: rsa.RSAPrivateKey, signer: Signer, name: str) -> None:
    assert believes(write_letter(LETTERS[name], Settings(from_address="Shop <shop@shop.example>"), signer), key)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"Subject: =", b"Subject: Pay =") , (b"List-Unsubscribe: <https://shop", b"List-Unsubscribe: <https://evil"),
        (b"One-Click", b"Two-Click"), (b"Gr=C3=B6=C3=9Fe", b"Small"), (b"From: Shop", b"From: Evil <e@x>\r\nFrom: Shop"),
        (b"To: ada", b"To: bob"), (b"Message-ID: <", b"Message-ID: <0"),
    ],
)  # fmt: skip
def test_nothing_that_it_covers_can_be_changed(key: rsa.RSAPrivateKey, signer: Signer, was: bytes, becomes: bytes) -> None:
    raw = write_letter(LETTERS["page"], Settings(from_address="Shop <shop@shop.example>"), signer)
    assert was in raw
    assert not believes(raw.replace(was, becomes, 1), key)


def test_a_key_that_is_none_is_told_of_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("no key")
    with pytest.raises(ValueError, match="PEM"):
        Signer("shop.example", "souk", str(file)).sign([("From", b" a@b")], b"")
