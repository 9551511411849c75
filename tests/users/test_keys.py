"""Keys sign, are shown before they do, and go when their last token has expired."""

import time
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from tests.users.people import as_system, as_user, read_token, register

from souk import users
from souk.app import Shop
from souk.kit.auth import Claims, Verifier
from souk.kit.callers import Principal
from souk.kit.errors import Forbidden, Unauthenticated
from souk.kit.ids import new_id
from souk.users import keys
from souk.users.database import db
from souk.users.settings import place, shop_secret


async def make_token() -> str:
    now = time.time()
    async with db.transaction() as tx:
        return await keys.sign(tx, Claims("souk", "souk", new_id(), new_id(), now, now + 60))


async def let_time_pass(seconds: int) -> None:
    async with db.transaction() as tx:
        await tx.run(
            "UPDATE users.signing_key"
            " SET created_at = created_at - $1::interval, signs_from = signs_from - $1, expires_at = expires_at - $1",
            timedelta(seconds=seconds),
        )


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def test_the_first_question_makes_a_key_and_its_tokens_are_good(shop: Shop) -> None:
    policy = await users.get_token_policy()
    assert len(policy.keys) == 1
    ada = await register()
    principal = await read_token(ada.access_token)
    assert principal == Principal("user", ada.id, ("buyer",), (), principal.session_id)
    assert principal.session_id is not None
    assert jwt.get_unverified_header(ada.access_token)["typ"] == "at+jwt"


async def test_the_public_keys_are_a_key_set_that_others_can_check_tokens_with(shop: Shop) -> None:
    token = await make_token()
    (key,) = (await users.get_public_keys()).keys
    public = jwt.PyJWK({"kid": key.kid, "kty": key.kty, "crv": key.crv, "x": key.x, "alg": key.alg, "use": key.use})
    assert key.kid == kid_of(token)
    assert jwt.decode(token, public, audience="souk")["iss"] == "souk"


async def test_the_private_key_is_not_in_the_database(shop: Shop) -> None:
    await make_token()
    async with db.transaction() as tx:
        row = await tx.connection.fetchrow("SELECT kid, sealed, public_key FROM users.signing_key")
    key = keys.unseal(keys.SealedKey(row["kid"], row["sealed"]))
    assert key is not None
    assert key.public_key().public_bytes_raw() == row["public_key"]
    assert key.private_bytes_raw() not in row["sealed"]
    assert oct((place.now.home / "secrets" / "users_signing_key").stat().st_mode)[-3:] == "600"


async def test_a_new_key_is_shown_before_it_signs_and_the_old_one_until_its_last_token_expires(shop: Shop) -> None:
    old = await make_token()
    with as_system():
        fresh = await users.rotate_signing_key(False)
    assert {key.kid for key in (await users.get_token_policy()).keys} == {fresh, kid_of(old)}
    assert kid_of(await make_token()) == kid_of(old)
    await let_time_pass(keys.SHOWN_BEFORE_S + 1)
    assert kid_of(await make_token()) == fresh
    await read_token(old)
    await let_time_pass(600 + keys.CLOCKS_APART_S)
    assert {key.kid for key in (await users.get_token_policy()).keys} == {fresh}
    assert await keys.rotate_old_key() == 1
    with pytest.raises(Unauthenticated):
        await read_token(old)


async def test_a_key_is_replaced_when_it_is_old_and_not_before(shop: Shop) -> None:
    await make_token()
    assert await keys.rotate_old_key() == 0
    await let_time_pass(31 * 86400)
    assert await keys.rotate_old_key() == 1
    assert len((await users.get_token_policy()).keys) == 2
    assert await keys.rotate_old_key() == 0


async def test_a_stolen_key_is_distrusted_at_once(shop: Shop) -> None:
    stolen = await make_token()
    with as_system():
        fresh = await users.rotate_signing_key(True)
    with pytest.raises(Unauthenticated):
        await read_token(stolen)
    token = await make_token()
    assert kid_of(token) == fresh
    await read_token(token)


async def test_a_database_without_its_secret_gets_a_new_key_and_honours_the_old_tokens(shop: Shop, tmp_path: Path) -> None:
    old = await make_token()
    before = shop_secret()
    place.replace(home=tmp_path / "another")
    assert shop_secret() != before
    fresh = await make_token()
    assert kid_of(fresh) != kid_of(old)
    verifier = Verifier()
    verifier.learn(await users.get_token_policy())
    verifier.verify(old)
    verifier.verify(fresh)


async def test_only_admins_rotate(shop: Shop) -> None:
    with as_user(new_id(), "buyer", "seller"), pytest.raises(Forbidden):
        await users.rotate_signing_key(True)
