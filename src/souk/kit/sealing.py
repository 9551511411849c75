"""Secrets at rest: sealed under a secret that lies beside the database and never in it, and bound to the row that they are of."""

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


def seal(under: bytes, plain: bytes, row: bytes) -> bytes:
    """What may lie in the database in its place (AES-256-GCM). It opens for the same row only."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _make_cipher(under).encrypt(nonce, plain, row)


def unseal(under: bytes, sealed: bytes, row: bytes) -> bytes | None:
    """What was sealed; None if it was sealed under another secret (a database that was moved without its home) or for another row."""
    try:
        return _make_cipher(under).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row)
    except InvalidTag:
        return None


def _make_cipher(under: bytes) -> AESGCM:
    return AESGCM(hashlib.sha256(under).digest())
