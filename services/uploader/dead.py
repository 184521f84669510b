"""Dead letters: the original bytes and headers of a record that is given up, and why."""

import time
from collections.abc import Callable

from connector.kafka.headers import Failure, failure_headers, without_value
from connector.kafka.producer import RecordTooLarge
from connector.kafka.record import Record
from connector.kafka.topics import CHUNKS_DLQ
from services.uploader.line import Line
from services.uploader.producing import PatientProducer


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
            record,
            Failure(kind, code, message, attempts, first_failure_at_ms=now, last_failure_at_ms=now),
        )
        try:
            await self._producer.send(self._topic, record.key, record.value, headers)
        except RecordTooLarge:
            await self._producer.send(self._topic, record.key, None, without_value(record, headers))
        self._line.died()
