"""Access tokens made by hand: no library refuses to make what no library should accept."""

import base64
import json
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from souk.kit.auth import PublicKey, TokenPolicy
from souk.kit.ids import new_id

KEY = Ed25519PrivateKey.generate()
OTHERS_KEY = Ed25519PrivateKey.generate()
OTHERS_RAW = OTHERS_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
RAW = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
USER, SESSION, SELLER = new_id(), new_id(), new_id()
POLICY = TokenPolicy((PublicKey("key-1", RAW),))
DROPPED = object()
# Longer than the whole test run: some tokens are made when it begins.
LIFE_S = 4 * 3600


def claims(**changed: object) -> dict[str, object]:
    now = time.time()
    ids = {"sub": str(USER), "sid": str(SESSION), "sellers": [str(SELLER)]}
    usual = {"iss": "souk", "aud": "souk", "iat": now, "exp": now + LIFE_S, "roles": ["buyer", "seller"], **ids}
    return {name: value for name, value in {**usual, **changed}.items() if value is not DROPPED}


def headers(**changed: object) -> dict[str, object]:
    usual = {"alg": "EdDSA", "typ": "at+jwt", "kid": "key-1"}
    return {name: value for name, value in {**usual, **changed}.items() if value is not DROPPED}


def encode(part: object) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def seal(head: object, body: object, sign: Callable[[bytes], bytes] = KEY.sign) -> str:
    """A token made by hand: no library refuses to make what no library should accept."""
    signed = f"{encode(head)}.{encode(body)}"
    return f"{signed}.{encode(sign(signed.encode()))}"


GOOD = seal(headers(), claims())
