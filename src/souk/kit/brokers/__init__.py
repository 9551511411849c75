"""Brokers that carry the shop's facts between processes: where one is, and what the rest of the kit wants of it."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Protocol, cast
from urllib.parse import urlsplit

from souk.kit.brokers.messages import Message

# The only modules that know a broker's library. They are imported when such a broker is set: it takes 16 MB of a process.
ADAPTERS = {"kafka": "kafka", "kafka+ssl": "kafka", "amqp": "rabbitmq", "amqps": "rabbitmq"}

Hear = Callable[[Sequence[Message]], None]


class Broker(Protocol):
    """One connection to a broker, used once: after any trouble another is made."""

    def listen(self, source: str, hear: Hear) -> None:
        """From the start on, tell of every message about facts of this source that comes in."""

    async def start(self) -> None:
        """Connect; raises whatever the library raises."""

    async def publish(self, source: str, messages: Sequence[Message]) -> None:
        """Send, in this order; returns when the broker has confirmed all of them."""

    async def answers(self) -> bool:
        """Whether the broker is there."""

    async def stop(self) -> None:
        """Disconnect."""


def find_adapter(url: str) -> Callable[[], Broker]:
    """What makes a connection to the broker at an address, which is not connected yet. Imports the library, so call it at the start."""
    adapter = import_module(f"{__name__}.{ADAPTERS[urlsplit(url).scheme]}")
    return cast(Callable[[], Broker], partial(adapter.make_broker, url))


def check_broker_url(url: str) -> None:
    """Raise ValueError, without the password that is in it, if this is no address of a broker that we know."""
    parts = urlsplit(url)
    if parts.scheme not in ADAPTERS:
        raise ValueError(f"the address of a broker begins with one of {', '.join(f'{scheme}://' for scheme in ADAPTERS)}")
    if not parts.netloc:
        raise ValueError("the address of the broker has no host")
