"""Facts over Kafka: a topic with one partition for each source, so that all that a source tells has one order."""

import asyncio
import logging
import ssl
from collections.abc import Sequence, Set
from typing import Any
from urllib.parse import urlsplit

from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER
from faststream.kafka.schemas import Topic
from faststream.security import BaseSecurity

from souk.kit.brokers import Hear
from souk.kit.brokers.messages import CONTENT_TYPE, SIGNATURE, Message

ANSWER_WITHIN_S = 5.0
# A topic that is not there when its consumer looks (removed, or a cluster begun anew) is looked for again so soon; by itself: in 5 minutes.
LOOK_AGAIN_S = 5.0
# As many copies as there are brokers, at most this: one may be away while another one fails. (Those that the cluster itself is set to
# make cannot be asked for in the version of the request that the library speaks.)
COPIES = 3

log = logging.getLogger(__name__)

# While a broker is away it says so ten times a second; the link says it once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def make_broker(url: str) -> "Kafka":
    parts = urlsplit(url)
    return Kafka(parts.netloc.split(","), secure=parts.scheme == "kafka+ssl")


class Kafka:
    """A connection by FastStream. What Kafka knows of who has read what is not used: positions are kept with their effects."""

    def __init__(self, servers: list[str], *, secure: bool) -> None:
        self._heard: set[str] = set()
        self._made: set[str] = set()
        self._broker = KafkaBroker(
            servers,
            security=BaseSecurity(ssl_context=ssl.create_default_context()) if secure else None,
            client_id="souk",
            acks="all",
            request_timeout_ms=int(ANSWER_WITHIN_S * 1000),
            metadata_max_age_ms=int(LOOK_AGAIN_S * 1000),
            logger=None,
            apply_types=False,
            graceful_timeout=1.0,
        )

    def listen(self, source: str, hear: Hear) -> None:
        async def take(messages: list[Message]) -> None:
            hear(messages)

        self._heard.add(source)
        self._broker.subscriber(
            Topic(_topic(source), declare=False),
            batch=True,
            auto_offset_reset="latest",
            parser=_parse,
            decoder=_decode,
            ack_policy=AckPolicy.ACK_FIRST,
            no_reply=True,
        )(take)

    async def start(self) -> None:
        await self._broker.connect()
        await self._make_topics(self._heard)
        await self._broker.start()

    async def _make_topics(self, sources: Set[str]) -> None:
        """Who may not make them is told, and goes on: they may have been made by somebody who may."""
        admin = self._broker.config.admin
        brokers = (await admin.client.describe_cluster())["brokers"]
        topics = [Topic(_topic(source), num_partitions=1, replication_factor=min(COPIES, len(brokers))) for source in sources]
        for made in await admin.create_topics(topics):
            if made.error is not None:
                log.warning("topic_not_made", extra={"topic": made.topic, "reason": type(made.error).__name__})
        self._made |= sources

    async def publish(self, source: str, messages: Sequence[Message]) -> None:
        if source not in self._made:
            await self._make_topics({source})
        confirmations: list[asyncio.Future[Any]] = []
        for message in messages:
            sent = await self._broker.publish(
                message.body,
                _topic(source),
                key=source.encode(),
                partition=0,
                headers={SIGNATURE: message.signature, "content-type": CONTENT_TYPE},
                no_confirm=True,
            )
            # Whoever gives up before the last one is sent does not come to hear of the first.
            sent.add_done_callback(lambda one: one.cancelled() or one.exception())
            confirmations.append(sent)
        await asyncio.gather(*confirmations)

    async def answers(self) -> bool:
        return await self._broker.ping(ANSWER_WITHIN_S)

    async def stop(self) -> None:
        await self._broker.stop()


def _topic(source: str) -> str:
    return f"souk.{source}"


async def _parse(records: Any) -> KafkaMessage:
    return KafkaMessage(body=b"", raw_message=records, consumer=FAKE_CONSUMER)


async def _decode(message: KafkaMessage) -> list[Message]:
    return [Message(record.value or b"", _signature(record.headers)) for record in message.raw_message]


def _signature(headers: Sequence[tuple[str, bytes]]) -> str:
    return dict(headers).get(SIGNATURE, b"").decode("ascii", "replace")
