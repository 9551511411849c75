"""Only tokens that this shop signed, for this purpose, that have not expired and were not revoked open anything."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from tests.kit.tokens import (
    DROPPED,
    GOOD,
    OTHERS_KEY,
    OTHERS_RAW,
    PEM,
    POLICY,
    RAW,
    SELLER,
    SESSION,
    USER,
    claims,
    encode,
    headers,
    seal,
)

from souk.kit.auth import PublicKey, Revocation, TokenPolicy, Verifier
from souk.kit.callers import Principal
from souk.kit.errors import Unauthenticated, Unavailable
from souk.kit.ids import new_id


def hmac_with(secret: bytes, digest: str = "sha256") -> Callable[[bytes], bytes]:
    return lambda signed: hmac.new(secret, signed, digest).digest()


HEAD, BODY, SIGNATURE = GOOD.split(".")
RSA = jwt.encode(claims(), generate_private_key(65537, 2048), "RS256", {"kid": "key-1", "typ": "at+jwt"})

FORGED = {
    "nothing": "",
    "junk": "junk",
    "three junks": "a.b.c",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.x",
    "empty signature": f"{HEAD}.{BODY}.",
    "cut signature": f"{HEAD}.{BODY}.{SIGNATURE[:-4]}",
    "signature of another token": f"{HEAD}.{encode(claims(sub=str(new_id())))}.{SIGNATURE}",
    "another's signature": seal(headers(), claims(), OTHERS_KEY.sign),
    "alg none": seal(headers(alg="none"), claims(), lambda _: b""),
    "alg None": seal(headers(alg="None"), claims(), lambda _: b""),
    "alg none with our signature": seal(headers(alg="none"), claims()),
    "alg HS256 with the public key's bytes": seal(headers(alg="HS256"), claims(), hmac_with(RAW)),
    "alg HS256 with the public key's PEM": seal(headers(alg="HS256"), claims(), hmac_with(PEM)),
    "alg HS512 with the public key's PEM": seal(headers(alg="HS512"), claims(), hmac_with(PEM, "sha512")),
    "alg HS256 with an empty secret": seal(headers(alg="HS256"), claims(), hmac_with(b"")),
    "alg HS256 with our signature": seal(headers(alg="HS256"), claims()),
    "alg RS256": RSA,
    "alg missing": seal(headers(alg=DROPPED), claims()),
    "alg is no text": seal(headers(alg=["EdDSA"]), claims()),
    "alg in lower case": seal(headers(alg="eddsa"), claims()),
    "typ of an id token": seal(headers(typ="JWT"), claims()),
    "typ of a refresh token": seal(headers(typ="rt+jwt"), claims()),
    "typ missing": seal(headers(typ=DROPPED), claims()),
    "typ is no text": seal(headers(typ=["at+jwt"]), claims()),
    "kid unknown": seal(headers(kid="key-2"), claims(), OTHERS_KEY.sign),
    "kid missing": seal(headers(kid=DROPPED), claims()),
    "kid is a path": seal(headers(kid="../../../../dev/null"), claims(), hmac_with(b"")),
    "kid is SQL": seal(headers(kid="x' UNION SELECT 'key-1"), claims()),
    "kid is an address": seal(headers(kid="https://evil.example/key"), claims()),
    "kid is no text": seal(headers(kid=1), claims()),
    "kid is a list": seal(headers(kid=["key-1"]), claims()),
    "kid is null": seal(headers(kid=None), claims()),
    "a key of its own": seal(
        headers(kid="own", jwk={"kty": "OKP", "crv": "Ed25519", "x": encode(OTHERS_RAW)}),
        claims(),
        OTHERS_KEY.sign,
    ),
    "an address of its own key": seal(headers(kid="own", jku="https://evil.example/keys"), claims(), OTHERS_KEY.sign),
    "crit": seal(headers(crit=["exp"]), claims()),
    "crit unknown": seal(headers(crit=["http://example.com/new"], **{"http://example.com/new": True}), claims()),
    "b64 false": seal(headers(crit=["b64"], b64=False), claims()),
    "expired": seal(headers(), claims(exp=time.time() - 1)),
    "exp missing": seal(headers(), claims(exp=DROPPED)),
    "exp is a text": seal(headers(), claims(exp="tomorrow")),
    "exp without end": seal(headers(), claims(exp=1e400)),
    "not valid yet": seal(headers(), claims(nbf=time.time() + 3600)),
    "issued tomorrow": seal(headers(), claims(iat=time.time() + 86400)),
    "iat missing": seal(headers(), claims(iat=DROPPED)),
    "another issuer": seal(headers(), claims(iss="https://evil.example")),
    "iss missing": seal(headers(), claims(iss=DROPPED)),
    "another audience": seal(headers(), claims(aud="payments")),
    "one of many audiences": seal(headers(), claims(aud=["payments", "souk"])),
    "aud missing": seal(headers(), claims(aud=DROPPED)),
    "sub missing": seal(headers(), claims(sub=DROPPED)),
    "sub is no id": seal(headers(), claims(sub="admin")),
    "sid missing": seal(headers(), claims(sid=DROPPED)),
    "roles is a text": seal(headers(), claims(roles="admin")),
    "body is a list": seal(headers(), ["sub", str(USER)]),
    "body is no JSON": seal(headers(), b"\xff\xfe"),
    "head is no JSON": seal(b"\xff\xfe", claims()),
    "head is a list": seal(["EdDSA"], claims()),
    "deep head": f"{encode(b'[' * 1400 + b']' * 1400)}.e30.x",
    "deep and unending head": f"{encode(b'[' * 3000)}.e30.x",
    "deep body": f"{HEAD}.{encode(b'[' * 1400 + b']' * 1400)}.{SIGNATURE}",
    "deep body of ours": seal(headers(), b"[" * 1350 + b"]" * 1350),
    "a megabyte": seal(headers(), claims(x="x" * 1_000_000)),
    "a megabyte of dots": "." * 1_000_000,
    "a service token": jwt.encode({"iss": "souk-process", "aud": "users", "exp": time.time() + 60}, "s" * 32, "HS256"),
    "spaces inside": GOOD.replace(".", " . "),
    "a line more": GOOD + "\n",
    "other characters": "é.ü.ñ",
}


@pytest.fixture
def verifier() -> Verifier:
    verifier = Verifier()
    verifier.learn(POLICY)
    return verifier


def test_a_token_of_ours_says_who_asks(verifier: Verifier) -> None:
    who = Principal("user", USER, ("buyer", "seller"), (SELLER,), SESSION)
    assert verifier.verify(GOOD) == who
    assert verifier.verify(GOOD) == who


@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_a_forged_token_opens_nothing_and_is_not_remembered(verifier: Verifier, forged: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(FORGED[forged])
    assert verifier._known == {}


def test_a_token_that_expires_while_we_remember_it_is_refused(verifier: Verifier) -> None:
    short = seal(headers(), claims(exp=time.time() + 1.2))
    verifier.verify(short)
    time.sleep(1.3)
    with pytest.raises(Unauthenticated):
        verifier.verify(short)


@pytest.mark.parametrize("subject", [USER, SESSION])
def test_what_was_issued_before_a_revocation_is_void(verifier: Verifier, subject: object) -> None:
    verifier.verify(GOOD)
    verifier.learn(TokenPolicy(POLICY.keys, (Revocation(subject, time.time()),)))  # type: ignore[arg-type]
    with pytest.raises(Unauthenticated):
        verifier.verify(GOOD)
    verifier.verify(seal(headers(), claims(iat=time.time() + 0.01)))


def test_anothers_revocation_is_not_ours(verifier: Verifier) -> None:
    verifier.learn(TokenPolicy(POLICY.keys, (Revocation(uuid4(), time.time() + 60),)))
    verifier.verify(GOOD)


def test_while_keys_rotate_both_are_good_and_then_only_the_new_one(verifier: Verifier) -> None:
    new = PublicKey("key-2", OTHERS_RAW)
    fresh = seal(headers(kid="key-2"), claims(), OTHERS_KEY.sign)
    with pytest.raises(Unauthenticated):
        verifier.verify(fresh)
    verifier.learn(TokenPolicy((*POLICY.keys, new)))
    assert verifier.verify(fresh) == verifier.verify(GOOD)
    verifier.learn(TokenPolicy((new,)))
    verifier.verify(fresh)
    with pytest.raises(Unauthenticated):
        verifier.verify(GOOD)


def test_a_process_that_has_heard_of_no_key_cannot_say_whose_token_it_is() -> None:
    with pytest.raises(Unavailable):
        Verifier().verify(GOOD)


def test_remembered_tokens_are_bounded(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.auth.KEPT_TOKENS", 3)
    for number in range(10):
        verifier.verify(seal(headers(), claims(jti=str(number))))
    assert len(verifier._known) <= 3


async def test_the_policy_is_asked_for_every_second_and_at_once_for_a_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, asked = Verifier(), 0
    answers: list[TokenPolicy | Exception] = [Unavailable("users"), POLICY]
    monkeypatch.setattr("souk.kit.auth.REFRESH_S", 0.3)

    async def fetch() -> TokenPolicy:
        nonlocal asked
        asked += 1
        answer = answers[min(asked - 1, 1)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    following = asyncio.create_task(verifier.follow(fetch))
    await asyncio.sleep(0.1)
    assert asked == 1
    await asyncio.sleep(0.3)
    assert asked == 2
    verifier.verify(GOOD)
    with pytest.raises(Unauthenticated):
        verifier.verify(FORGED["kid unknown"])
    await asyncio.sleep(0.15)
    assert asked == 3
    following.cancel()


def test_the_fingerprints_of_the_test_are_what_they_seem() -> None:
    assert hashlib.sha256(RAW).digest() != hashlib.sha256(PEM).digest()
    assert len(FORGED) > 40
