"""Producing: every record acknowledged by all in-sync replicas, or an error within a bound.

Idempotent aiokafka producers die for good on some broker answers (OutOfOrderSequenceNumber, a lost transaction state;
aiokafka #1017): every later send fails. So a fatal error replaces the producer instead of living on with a dead one.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerFenced

from connector.kafka.connection import connection_arguments
from connector.kafka.events import Encoded
from connector.kafka.headers import Headers
from connector.kafka.topics import Topic
from connector.runtime.settings import KafkaSettings

log = structlog.get_logger()

STOP_TIMEOUT = 10.0
FATAL = (OutOfOrderSequenceNumber, ProducerFenced)


class ProduceError(Exception):
    """Raised when a record was not acknowledged in time. It may still arrive: writers rely on deterministic ids."""


class RecordTooLarge(ProduceError):
    """Raised when the broker or the client refuses the record for its size: trying again cannot help."""


class EventProducer:
    """Writes events to our topics; use as `async with EventProducer(settings, "ingest") as producer`."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._producer = await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            await self._stopped(self._producer)
            self._producer = None

    async def publish(self, topic: Topic, event: Encoded) -> None:
        """Writes one event and waits for its acknowledgement."""
        await self.send(topic.full_name(self._settings.topic_prefix), event.key, event.value, event.headers)

    async def publish_all(self, topic: Topic, events: Sequence[Encoded]) -> None:
        """Writes *events* in order, waiting for all acknowledgements together (one round trip for a batch)."""
        name = topic.full_name(self._settings.topic_prefix)
        results = await asyncio.gather(
            *(self.send(name, event.key, event.value, event.headers) for event in events),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Writes raw bytes: what a dead letter needs, whose value nobody understands.

        Raises:
            ProduceError: Not acknowledged within the request time-out.
            RecordTooLarge: Refused for its size.
        """
        producer = self._producer
        if producer is None:
            raise RuntimeError("the producer is used outside its `async with` block")
        if key is None and value is None:
            key = b""  # aiokafka asserts that one of them is there; such a dead letter would be held for ever
        try:
            async with asyncio.timeout(self._settings.request_timeout + 5):
                await producer.send_and_wait(topic, value, key=key, headers=list(headers))
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(f"a record of {len(value or b'')} bytes is too large for {topic}") from error
        except FATAL as error:
            await self._replace(producer)
            raise ProduceError(f"the producer was fenced while writing to {topic}; it was replaced") from error
        except (KafkaError, TimeoutError) as error:
            raise ProduceError(f"writing to {topic} was not acknowledged: {type(error).__name__}") from error

    async def _started(self) -> AIOKafkaProducer:
        compression = None if self._settings.compression == "none" else self._settings.compression
        producer = AIOKafkaProducer(
            **connection_arguments(self._settings, self._client_id),
            acks="all",
            enable_idempotence=True,
            compression_type=compression,
            linger_ms=5,
            max_batch_size=131_072,
            request_timeout_ms=int(self._settings.request_timeout * 1_000),
        )
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await producer.start()
        except BaseException:
            await self._stopped(producer)
            raise
        return producer

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        async with self._replacing:
            if self._producer is not broken:
                return
            log.warning("kafka.producer_replaced", client=self._client_id)
            self._producer = await self._started()
            await self._stopped(broken)

    @staticmethod
    async def _stopped(producer: AIOKafkaProducer) -> None:
        """Stops within a bound: `stop()` hangs while brokers are down (aiokafka #1101)."""
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await producer.stop()
