"""Telling what became of a chunk: outcomes and dead letters, acknowledged by Kafka before an offset completes."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from connector.kafka.consumer import Record
from connector.kafka.events import Encoded, PoisonEvent, encode
from connector.kafka.headers import Failure, child_traceparent, failure_headers, text, traceparent
from connector.kafka.producer import EventProducer, ProduceError, RecordTooLarge
from connector.kafka.topics import CHUNKS_DLQ, OUTCOMES
from connector.telemetry import Telemetry
from connector.telemetry.logs import redact_text
from schemas.events import ChunkCounts, ChunkReady, ChunkSettled, Dead, Delivered, Outcome, Reject, Waiting
from schemas.registry import CHUNK_SETTLED
from services.uploader.endings import Arrived, Lost, NeedsPerson
from services.uploader.facts import ChunkDelivered, ChunkDied, ChunkWaits, PoisonBuried
from services.uploader.retrying import RetryPolicy

SOURCE = "/fbc/uploader"
PRODUCE_PAUSES = RetryPolicy(attempts=2**31, base=0.5, cap=10.0, total=float("inf"))


class Settler:
    """Writes outcomes and dead letters. A produce that fails holds the record: nothing is skipped."""

    def __init__(
        self,
        producer: EventProducer,
        topic_prefix: str,
        telemetry: Telemetry,
        *,
        chance: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._producer = producer
        self._prefix = topic_prefix
        self._telemetry = telemetry
        self._chance = chance
        self._now = now

    async def arrived(self, record: Record, chunk: ChunkReady, ending: Arrived, attempts: int, seconds: float) -> None:
        """Every record is accounted for."""
        settled = self._settled(
            chunk,
            Delivered(),
            ending.counts,
            attempts,
            calls=ending.calls,
            reasons=ending.reject_reasons,
            rejects=ending.rejects,
            fbtrace_id=ending.fbtrace_id,
        )
        await self._publish(record, settled)
        counts = ending.counts
        self._telemetry.emit(
            ChunkDelivered(
                chunk=chunk.chunk_id,
                operation=chunk.operation.value,
                accepted=counts.accepted,
                invalid=counts.invalid,
                rejected=counts.rejected,
                calls=ending.calls,
                attempts=attempts,
                seconds=round(seconds, 3),
            )
        )

    async def waits(self, record: Record, chunk: ChunkReady, ending: NeedsPerson, attempts: int) -> None:
        """The chunk waits for a person: the ledger keeps it, and releases it when `scope` is mended."""
        outcome = Waiting(cause=ending.cause, scope=ending.scope, advice=ending.advice[:512])
        counts = ChunkCounts(records=chunk.records, waiting=chunk.records)
        await self._publish(record, self._settled(chunk, outcome, counts, attempts))
        self._telemetry.emit(ChunkWaits(chunk.chunk_id, ending.cause, ending.scope))

    async def lost(self, record: Record, chunk: ChunkReady, ending: Lost, attempts: int) -> None:
        """The chunk is given up: first the dead letter, then the outcome that speaks of it."""
        message = redact_text(ending.message)[:512]
        await self._bury(record, ending.kind, ending.code, message, attempts)
        outcome = Dead(reason=ending.reason, code=ending.code[:64], message=message)
        counts = ChunkCounts(records=chunk.records, dead=chunk.records)
        await self._publish(record, self._settled(chunk, outcome, counts, attempts))
        self._telemetry.emit(ChunkDied(chunk.chunk_id, ending.reason, ending.code, message))

    async def bury_poison(self, record: Record, error: PoisonEvent) -> None:
        """Puts aside what is no chunk event; nobody waits for its outcome."""
        await self._bury(record, "poison", error.code, str(error), 1)
        self._telemetry.emit(PoisonBuried(record.topic, record.partition, record.offset, error.code, str(error)))

    async def bury_defect(self, record: Record, error: Exception) -> None:
        """Puts aside a record our own code broke on; the error's text may quote data and stays out of the letter."""
        message = "our own code failed on this record; the log of the uploader says where"
        await self._bury(record, "defect", type(error).__name__, message, 1)
        self._telemetry.emit(PoisonBuried(record.topic, record.partition, record.offset, type(error).__name__, message))

    def _settled(
        self,
        chunk: ChunkReady,
        outcome: Outcome,
        counts: ChunkCounts,
        attempts: int,
        *,
        calls: int = 0,
        reasons: dict[str, int] | None = None,
        rejects: tuple[Reject, ...] = (),
        fbtrace_id: str | None = None,
    ) -> ChunkSettled:
        return ChunkSettled(
            revision=chunk.revision,
            file_index=chunk.file_index,
            chunk_index=chunk.chunk_index,
            ad_account_id=chunk.ad_account_id,
            audience_id=chunk.audience_id,
            outcome=outcome,
            counts=counts,
            reject_reasons=reasons or {},
            rejects=rejects,
            calls=calls,
            attempts=attempts,
            fbtrace_id=fbtrace_id,
            settled_at=self._now(),
        )

    async def _publish(self, record: Record, settled: ChunkSettled) -> None:
        """Writes the outcome. Its id names the chunk event it answers: a released chunk may wait a second time."""
        asked = text(record.headers, "ce_id") or f"{record.topic}/{record.partition}/{record.offset}"
        event = encode(
            CHUNK_SETTLED,
            settled,
            key=str(settled.revision),
            identity=(settled.chunk_id, settled.outcome.kind, asked),
            source=SOURCE,
            subject=settled.chunk_id,
            now=self._now(),
            traceparent=child_traceparent(
                traceparent(record.headers), str(settled.revision), f"settled/{settled.chunk_id}/{asked}"
            ),
        )
        await self._written(OUTCOMES.full_name(self._prefix), event)

    async def _bury(self, record: Record, kind: str, code: str, message: str, attempts: int) -> None:
        """The original bytes and headers, and why it is here."""
        now_ms = int(time.time() * 1_000)
        headers = failure_headers(
            record.headers,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            failure=Failure(kind, code, message, attempts, now_ms, now_ms),
        )
        name = CHUNKS_DLQ.full_name(self._prefix)
        try:
            await self._written(name, Encoded(record.key or b"", record.value or b"", headers), record)
        except RecordTooLarge:
            # A record at Kafka's limit does not fit once the reasons are added. Holding it for ever would stop its
            # partition, so the letter points back at it (origin-*).
            omitted = ("value-omitted", str(len(record.value or b"")).encode())
            await self._written(name, Encoded(record.key or b"", b"", (*headers, omitted)), record, value=None)

    async def _written(
        self, topic: str, event: Encoded, record: Record | None = None, value: bytes | None = b""
    ) -> None:
        """Writes until Kafka acknowledges. Cancelled when the process stops: then the record is read again."""
        key = event.key if record is None else record.key
        content = event.value if record is None else (record.value if value is not None else None)
        attempt = 0
        while True:
            try:
                await self._producer.send(topic, key, content, event.headers)
            except RecordTooLarge:
                raise
            except ProduceError:
                attempt += 1
                ceiling = min(PRODUCE_PAUSES.cap, PRODUCE_PAUSES.base * 2 ** min(attempt, 10))
                await asyncio.sleep(ceiling * (0.5 + self._chance() / 2))
            else:
                return
