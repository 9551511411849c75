"""What a PostgreSQL server keeps of a password: made here, the password itself is in no statement, and so in no log of the server."""

import hmac
import secrets
import stringprep
import unicodedata
from base64 import b64encode
from hashlib import pbkdf2_hmac, sha256

# What a server takes for a password that it has to hash itself.
ITERATIONS = 4096
SALT_BYTES = 16


def make_verifier(password: str, salt: bytes | None = None) -> str:
    """A password as SCRAM-SHA-256 keeps it (RFC 5803): who has it can tell whether somebody knows the password, and does not know it."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = pbkdf2_hmac("sha256", _prepare(password).encode(), salt, ITERATIONS)
    stored = sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_write(salt)}${_write(stored)}:{_write(server)}"


def _prepare(password: str) -> str:
    """The one of all ways to write these letters that counts (SASLprep, RFC 4013)."""
    if password.isascii():
        return password
    mapped = "".join(" " if stringprep.in_table_c12(one) else one for one in password if not stringprep.in_table_b1(one))
    return unicodedata.normalize("NFKC", mapped)


def _write(value: bytes) -> str:
    return b64encode(value).decode()
