"""Delay topics: the original bytes and headers of a record that is to be tried again later, and when."""

import time
from collections.abc import Callable, Mapping

from connector.kafka.headers import Failure, failure_headers
from connector.kafka.record import PutAside, Record
from connector.kafka.topics import CHUNK_RETRIES
from connector.telemetry import Telemetry
from connector.telemetry.logs import redact_text
from schemas.events import ChunkReady
from services.uploader.endings import Postponed
from services.uploader.facts import ChunkPostponed
from services.uploader.producing import PatientProducer


class Delays:
    """Writes to the delay topics of chunks."""

    def __init__(
        self,
        producer: PatientProducer,
        topic_prefix: str,
        telemetry: Telemetry,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    ) -> None:
        self._producer = producer
        self._topics: Mapping[str, str] = {
            topic.name.rpartition(".")[2]: topic.full_name(topic_prefix) for topic in CHUNK_RETRIES
        }
        self._telemetry = telemetry
        self._now_ms = now_ms

    def put_back(self, tier: str) -> PutAside:
        """Writes a record to the end of *tier* once more, as it is: it is due later than the tier waits."""

        async def put(record: Record) -> None:
            await self._producer.send(self._topics[tier], record.key, record.value, record.headers)

        return put

    async def postpone(self, record: Record, chunk: ChunkReady, ending: Postponed) -> None:
        """Returns when Kafka has acknowledged it: only then is the record done with where it was read."""
        now, began = self._now_ms(), ending.first_failure_at
        headers = failure_headers(
            record,
            Failure(
                kind=ending.kind,
                code=ending.code,
                message=redact_text(ending.message),
                attempt=ending.attempts,
                first_failure_at_ms=None if began is None else round(began * 1_000),
                last_failure_at_ms=now,
                due_at_ms=round(ending.due_at * 1_000),
            ),
        )
        await self._producer.send(self._topics[ending.tier], record.key, record.value, headers)
        self._telemetry.emit(
            ChunkPostponed(
                chunk=chunk.chunk_id,
                tier=ending.tier,
                kind=ending.kind,
                code=ending.code,
                attempts=ending.attempts,
                seconds=round(ending.due_at - now / 1_000, 1),
            )
        )
