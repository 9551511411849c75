"""The signature is the one of Standard Webhooks."""

import base64

import pytest

from souk.sandbox.webhooks import read_secret, sign


def test_the_example_of_the_standard():
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", base64.b64encode(b"k" * 32).decode(), "whsec_" + "!" * 40])
def test_a_secret_of_another_shape_is_refused_at_the_start(secret):
    with pytest.raises(ValueError, match=r"secret|base64|padding"):
        read_secret(secret)
