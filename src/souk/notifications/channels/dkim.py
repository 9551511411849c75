"""DKIM (RFC 6376): a letter signed with the key of the shop's domain, rsa-sha256, relaxed/relaxed."""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

# What mailbox providers want to be covered (RFC 8058 names the two of unsubscribing), and what decides how the body is read.
COVERED = (
    "From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type",
)  # fmt: skip
SPACES = re.compile(rb"[ \t]+")
FOLDS = re.compile(rb"\r\n(?=[ \t])")

Header = tuple[str, bytes]


class Signer(msgspec.Struct, frozen=True):
    """Whose key, and under which name it stands in the DNS: <selector>._domainkey.<domain>."""

    domain: str
    selector: str
    key_file: str

    def sign(self, headers: Sequence[Header], body: bytes) -> Header:
        """The header that goes on top of these."""
        last = {name.lower(): (name, value) for name, value in headers}
        covered = [last[name.lower()] for name in COVERED if name.lower() in last]
        digest = base64.b64encode(hashlib.sha256(relax_body(body)).digest()).decode()
        # From is named once more than it is there, so that nobody can put another one on top.
        names = ":".join([*(name for name, _ in covered), "From"])
        unsigned = (
            f"v=1; a=rsa-sha256; c=relaxed/relaxed; d={self.domain}; s={self.selector};\r\n h={names};\r\n bh={digest};\r\n b="
        ).encode()
        signed = b"".join(relax_header(name, value) + b"\r\n" for name, value in covered) + relax_header("DKIM-Signature", unsigned)
        seal = base64.b64encode(read_key(self.key_file).sign(signed, PKCS1v15(), hashes.SHA256())).decode()
        return "DKIM-Signature", unsigned + "\r\n ".join(seal[at : at + 72] for at in range(0, len(seal), 72)).encode()


@cache
def read_key(file: str) -> RSAPrivateKey:
    """The key in a PEM file; raises ValueError if it is no RSA key."""
    key = serialization.load_pem_private_key(Path(file).read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"{file} has no RSA key")
    return key


def relax_header(name: str, value: bytes) -> bytes:
    """RFC 6376, 3.4.2: name in small letters, unfolded, one space for many."""
    return name.lower().encode() + b":" + SPACES.sub(b" ", FOLDS.sub(b"", value)).strip(b" ")


def relax_body(body: bytes) -> bytes:
    """RFC 6376, 3.4.4: one space for many, none at ends of lines, no empty lines at the end."""
    lines = [SPACES.sub(b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)
