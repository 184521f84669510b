"""Putting aside what nobody can process: original bytes, the way back, and the reason."""

import asyncio
import random

from connector.kafka.headers import Failure, Headers, KafkaRecord, failure_headers, without_value
from connector.kafka.producer import EventProducer, ProduceError, RecordTooLarge
from connector.kafka.topics import Topic
from connector.telemetry import Telemetry
from services.ingest.clock import Clock
from services.ingest.facts import DeadLettered
from services.ingest.holding import pause
from services.ingest.patience import Patience


class DeadLetters:
    """Writes dead letters; a letter is acknowledged by Kafka before `bury` returns, however long that takes."""

    def __init__(
        self, producer: EventProducer, topic_prefix: str, telemetry: Telemetry, clock: Clock, stop: asyncio.Event
    ) -> None:
        self._producer = producer
        self._prefix = topic_prefix
        self._telemetry = telemetry
        self._clock = clock
        self._stop = stop
        self._patience = Patience()

    async def bury(self, record: KafkaRecord, topic: Topic, *, kind: str, code: str, message: str) -> None:
        """Writes *record* to *topic* with its own key, value and headers, and why it is there.

        Raises:
            Stopped: The process is to stop before Kafka acknowledged; the record must not be passed over.
        """
        now_ms = int(self._clock().timestamp() * 1_000)
        headers = failure_headers(
            record,
            Failure(kind, code, message, attempt=1, first_failure_at_ms=now_ms, last_failure_at_ms=now_ms),
        )
        name = topic.full_name(self._prefix)
        attempt = 0
        while not await self._sent(name, record, headers):
            attempt += 1
            await pause(self._stop, self._patience.pause(attempt, random.random()))  # noqa: S311 -- jitter
        self._telemetry.emit(DeadLettered(record.topic, record.partition, record.offset, kind, code, message))

    async def _sent(self, topic: str, record: KafkaRecord, headers: Headers) -> bool:
        try:
            await self._producer.send(topic, record.key, record.value, headers)
        except RecordTooLarge:
            return await self._sent_without_value(topic, record, headers)
        except ProduceError:
            return False
        return True

    async def _sent_without_value(self, topic: str, record: KafkaRecord, headers: Headers) -> bool:
        try:
            await self._producer.send(topic, record.key, None, without_value(record, headers))
        except ProduceError:
            return False
        return True
