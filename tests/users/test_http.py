"""Where a request comes from is what our own proxies say, never what its sender says."""

from litestar import Request
from litestar.datastructures import State

from souk.users.http import address_of
from souk.users.settings import settings


def request_from(client: str, *forwarded: str) -> Request[object, object, State]:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return Request({"type": "http", "method": "POST", "path": "/auth/login", "headers": headers, "client": (client, 1234)})  # type: ignore[arg-type]


def test_without_a_proxy_nobody_forges_an_address() -> None:
    assert address_of(request_from("203.0.113.7", "198.51.100.1")) == "203.0.113.7"


def test_behind_a_proxy_the_address_is_the_one_that_it_has_seen() -> None:
    settings.replace(trusted_proxies=1)
    assert address_of(request_from("10.0.0.1", "198.51.100.1, 203.0.113.7")) == "203.0.113.7"
    assert address_of(request_from("10.0.0.1", "198.51.100.1", "203.0.113.7")) == "203.0.113.7"
    assert address_of(request_from("10.0.0.1")) == "10.0.0.1"


def test_behind_two_proxies_the_first_of_them_has_seen_it() -> None:
    settings.replace(trusted_proxies=2)
    assert address_of(request_from("10.0.0.1", "198.51.100.1, 203.0.113.7, 10.0.0.2")) == "203.0.113.7"
