"""Facts over RabbitMQ: one durable topic exchange, and for each process that listens a queue of its own that goes with it."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue

from souk.kit.brokers import Hear
from souk.kit.brokers.messages import CONTENT_TYPE, SIGNATURE, Message

EXCHANGE = RabbitExchange("souk", type=ExchangeType.TOPIC, durable=True)
# What a process that listens and does not read costs the broker.
LONGEST_QUEUE_BYTES = 16 * 1024 * 1024
CONNECT_WITHIN_S = 5.0
HEARTBEAT_S = 10

# They tell of every attempt to connect; the link says once that the broker is away.
for _library in ("aio_pika", "aiormq"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)


def make_broker(url: str) -> "RabbitMQ":
    return RabbitMQ(url)


class RabbitMQ:
    """A connection by FastStream. Its own way to reconnect is not used: a queue of one's own is gone with its connection."""

    def __init__(self, url: str) -> None:
        self._lost = asyncio.Event()
        self._broker = RabbitBroker(
            f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT_S}",
            timeout=CONNECT_WITHIN_S,
            on_close=(lambda *_: self._lost.set(),),
            default_channel=Channel(publisher_confirms=True),
            app_id="souk",
            logger=None,
            apply_types=False,
            graceful_timeout=1.0,
        )

    def listen(self, source: str, hear: Hear) -> None:
        async def take(message: Message) -> None:
            hear((message,))

        queue = RabbitQueue(
            f"souk.{source}.{secrets.token_hex(8)}",
            routing_key=source,
            durable=False,
            exclusive=True,
            auto_delete=True,
            arguments={"x-max-length-bytes": LONGEST_QUEUE_BYTES, "x-overflow": "drop-head"},
        )
        self._broker.subscriber(queue, EXCHANGE, parser=_parse, decoder=_decode, ack_policy=AckPolicy.ACK_FIRST, no_reply=True)(take)

    async def start(self) -> None:
        # An attempt of the library that is cancelled goes on by itself, and outlasts its loop: it is left to end, which is soon.
        starting = asyncio.create_task(self._broker.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait({starting}, timeout=CONNECT_WITHIN_S + 1.0)
            raise
        await self._broker.declare_exchange(EXCHANGE)

    async def publish(self, source: str, messages: Sequence[Message]) -> None:
        async with asyncio.TaskGroup() as group:
            for message in messages:
                group.create_task(self._publish(source, message))

    async def _publish(self, source: str, message: Message) -> None:
        await self._broker.publish(
            message.body,
            exchange=EXCHANGE,
            routing_key=source,
            mandatory=False,
            headers={SIGNATURE: message.signature},
            content_type=CONTENT_TYPE,
        )

    async def answers(self) -> bool:
        return not self._lost.is_set() and await self._broker.ping(CONNECT_WITHIN_S)

    async def stop(self) -> None:
        await self._broker.stop()


async def _parse(message: Any) -> RabbitMessage:
    return RabbitMessage(body=message.body, headers=message.headers, raw_message=message)


async def _decode(message: RabbitMessage) -> Message:
    return Message(message.body, str(message.headers.get(SIGNATURE, "")))
