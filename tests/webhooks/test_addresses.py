"""Addresses that a webhook may not have: everything that is not on the public internet, in whatever way it is written."""

import pytest

from souk.kit.errors import InvalidField
from souk.webhooks.addresses import check_url, is_public

PRIVATE = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:20::1", "2001:db8::1",
    "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2a00:1450::1%eth0", "fec0::1",
    "ff02::1", "5f00::1", "localhost", "", "not an address",
)  # fmt: skip
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "11.0.0.1", "2a00:1450:4001:80f::200e", "2606:4700::1111")

REFUSED = (
    "http://hooks.example.com/a", "https://127.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://0x7f000001/", "https://2130706433/",
    "https://017700000001/", "https://0177.0.0.1/", "https://0/", "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://192.168.0.1:8443/", "https://100.64.1.1/",
    "https://user@example.com/", "https://user:secret@example.com/", "https://:secret@example.com/", "https://@127.0.0.1/",
    "https://example.com@127.0.0.1/", "https://example.com\\@127.0.0.1/", "https://example.com/#fragment",
    "https://example.com:22/", "https://example.com:5432/", "https://example.com:6379/", "https://example.com:5672/", "https://example.com:80/",
    "https://example.com:0/", "https://example.com:99999/", "https:///nowhere", "https://", "ftp://example.com/", "gopher://example.com/",
    "file:///etc/passwd", "https:example.com", "//example.com/",
)  # fmt: skip
TAKEN = ("https://hooks.example.com", "https://hooks.example.com/a?b=c", "https://hooks.example.com:8443/", "https://1.1.1.1/", "https://bücher.example/")


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_on_the_internet_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_on_the_internet_is_taken(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_can_never_be_told_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidField):
        check_url(url, (443, 8443), allow_private=False)


@pytest.mark.parametrize("url", TAKEN)
def test_an_address_on_the_internet_is_taken(url: str) -> None:
    check_url(url, (443, 8443), allow_private=False)


def test_in_development_everything_is_taken_but_what_is_no_address() -> None:
    for url in ("http://127.0.0.1:5000/a", "http://localhost/", "https://10.0.0.1/"):
        check_url(url, (443,), allow_private=True)
    for url in ("http://user@localhost/", "http://", "https://example.com:99999/"):
        with pytest.raises(InvalidField):
            check_url(url, (443,), allow_private=True)
