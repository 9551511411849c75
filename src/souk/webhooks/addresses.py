"""Where a webhook may lie: on the public internet, not in the shop's own network (SSRF)."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

from yarl import URL

from souk.kit.errors import InvalidField

# What of the addresses for unicast is nobody's on the internet (IANA's registries of special purposes), whatever this Python's
# `is_global` knows of them.
CLOSED_V4 = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
# Outside of 2000::/3 lie loopback, link-local, unique local, multicast, IPv4 in disguise (mapped, compatible, NAT64) and nothing public.
# Inside of it Teredo, ORCHID, 6to4 and documentation: 6to4 and Teredo hide an IPv4 address, too.
OPEN_V6 = IPv6Network("2000::/3")
CLOSED_V6 = tuple(IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))


def is_public(address: str) -> bool:
    """Whether this IP address, as a resolver writes it, is somebody's on the internet."""
    try:
        one = ip_address(address)
    except ValueError:
        return False
    if isinstance(one, IPv4Address):
        return one.is_global and not any(one in closed for closed in CLOSED_V4)
    return one.scope_id is None and one in OPEN_V6 and one.is_global and not any(one in closed for closed in CLOSED_V6)


def check_url(url: str, ports: tuple[int, ...], *, allow_private: bool) -> None:
    """Raises InvalidField for an address that is never told of anything. What a name leads to is looked at whenever something is sent."""
    try:
        read = URL(url)
        host, port = read.raw_host, read.port
    except ValueError as broken:
        raise InvalidField("url", "is not an address") from broken
    if not host or "\\" in url or read.raw_fragment or read.raw_user is not None or read.raw_password is not None:
        raise InvalidField("url", "is to be https://host/path, without a user and a fragment")
    if allow_private:
        return
    if read.scheme != "https":
        raise InvalidField("url", "is to begin with https://")
    if port not in ports:
        raise InvalidField("url", f"is to have one of the ports {', '.join(map(str, ports))}")
    if (literal := read_literal(host)) is not None and not is_public(literal):
        raise InvalidField("url", "is not on the public internet")


def read_literal(host: str) -> str | None:
    """The address that a host is, be it written as 0x7f.1 or 2130706433; None for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            return None
