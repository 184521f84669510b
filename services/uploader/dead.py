"""Dead letters: the original bytes and headers of a record that is given up, and why."""

import time
from collections.abc import Callable

from connector.kafka.headers import Failure, failure_headers
from connector.kafka.producer import RecordTooLarge
from connector.kafka.record import Record
from connector.kafka.topics import CHUNKS_DLQ
from services.uploader.line import Line
from services.uploader.producing import PatientProducer

VALUE_OMITTED = "value-omitted"
"""Header of a letter whose value did not fit beside its reasons; `origin-*` leads to the record that has it."""


class DeadLetters:
    """Writes to the dead-letter topic of chunks; too many of them stop the line."""

    def __init__(
        self,
        producer: PatientProducer,
        topic_prefix: str,
        line: Line,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    ) -> None:
        self._producer = producer
        self._line = line
        self._topic = CHUNKS_DLQ.full_name(topic_prefix)
        self._now_ms = now_ms

    async def bury(self, record: Record, *, kind: str, code: str, message: str, attempts: int) -> None:
        """Returns when Kafka has acknowledged the letter, however long that takes."""
        now = self._now_ms()
        headers = failure_headers(
            record.headers,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            failure=Failure(kind, code, message, attempts, first_failure_at_ms=now, last_failure_at_ms=now),
        )
        try:
            await self._producer.send(self._topic, record.key, record.value, headers)
        except RecordTooLarge:
            # A record at Kafka's limit does not fit once the reasons are added. Holding it for ever would stop its
            # partition, so the letter points back at it.
            omitted = (VALUE_OMITTED, str(len(record.value or b"")).encode())
            await self._producer.send(self._topic, record.key, None, (*headers, omitted))
        self._line.died()
