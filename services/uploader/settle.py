"""Telling what became of a chunk: one outcome each, acknowledged by Kafka before the offset completes."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from connector.kafka.events import PoisonEvent, decode, encode
from connector.kafka.headers import child_traceparent, text, traceparent
from connector.kafka.record import Record
from connector.kafka.topics import OUTCOMES
from connector.telemetry import Telemetry
from connector.telemetry.logs import redact_text
from schemas.events import REPLACE_RESTART, ChunkCounts, ChunkReady, ChunkSettled, Dead, Delivered, Outcome, Waiting
from schemas.registry import CHUNK_READY, CHUNK_SETTLED
from services.uploader.dead import DeadLetters
from services.uploader.endings import Arrived, Ending, Lost, NeedsPerson, StartAgain
from services.uploader.facts import ChunkDelivered, ChunkDied, ChunkWaits, PoisonBuried
from services.uploader.line import Line
from services.uploader.producing import PatientProducer

log = structlog.get_logger()

SOURCE = "/fbc/uploader"
MAX_TEXT = 512
MAX_CODE = 64


class Settler:
    """Writes outcomes and, for what is given up, the dead letter before it."""

    def __init__(
        self,
        producer: PatientProducer,
        dead_letters: DeadLetters,
        line: Line,
        topic_prefix: str,
        telemetry: Telemetry,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._producer = producer
        self._dead_letters = dead_letters
        self._line = line
        self._topic = OUTCOMES.full_name(topic_prefix)
        self._telemetry = telemetry
        self._now = now

    async def arrived(self, record: Record, chunk: ChunkReady, ending: Arrived, attempts: int, seconds: float) -> None:
        """Every record is accounted for."""
        counts = ending.counts
        settled = self._settled(chunk, ending, Delivered(), counts, attempts)
        reasons = {
            "reject_reasons": ending.reject_reasons,
            "rejects": ending.rejects,
            "cell_rejects": dict(ending.cell_rejects),
        }
        await self._publish(record, settled.model_copy(update=reasons))
        self._line.arrived()
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
        outcome = Waiting(cause=ending.cause, scope=ending.scope, advice=ending.advice[:MAX_TEXT])
        counts = ChunkCounts(records=chunk.records, waiting=chunk.records)
        settled = self._settled(chunk, ending, outcome, counts, attempts)
        if ending.since is not None:  # ingest compares it with the moment the profile was mended
            settled = settled.model_copy(update={"settled_at": ending.since})
        await self._publish(record, settled)
        self._telemetry.emit(ChunkWaits(chunk.chunk_id, ending.cause, ending.scope))

    async def starts_again(self, record: Record, chunk: ChunkReady, ending: StartAgain, attempts: int) -> None:
        """The replacement has to begin anew: the ledger sends all of its chunks again, this one too."""
        advice = f"nothing to do: the replacement begins again ({redact_text(ending.message)})"
        scope = f"audience:{chunk.audience_id}"
        waits = NeedsPerson(REPLACE_RESTART, scope, advice, calls=ending.calls, fbtrace_id=ending.fbtrace_id)
        await self.waits(record, chunk, waits, attempts)

    async def lost(self, record: Record, chunk: ChunkReady, ending: Lost, attempts: int) -> None:
        """The chunk is given up: first the letter, then the outcome that speaks of it."""
        code, message = ending.code[:MAX_CODE], redact_text(ending.message)[:MAX_TEXT]
        await self._dead_letters.bury(record, kind=ending.kind, code=code, message=message, attempts=attempts)
        outcome = Dead(reason=ending.reason, code=code, message=message)
        counts = ChunkCounts(records=chunk.records, dead=chunk.records)
        await self._publish(record, self._settled(chunk, ending, outcome, counts, attempts))
        self._telemetry.emit(ChunkDied(chunk.chunk_id, ending.reason, code, message))

    async def poison(self, record: Record, error: PoisonEvent) -> None:
        """Puts aside what is no chunk event; nobody waits for its outcome."""
        await self._aside(record, "poison", error.code, redact_text(str(error))[:MAX_TEXT])

    async def defect(self, record: Record, error: Exception) -> None:
        """Puts aside a record our own code broke on; the error's text may quote data and stays out of the letter."""
        code, message = (
            type(error).__name__[:MAX_CODE],
            "our own code failed on this record; the uploader's log says where",
        )
        log.error(
            "uploader.defect", topic=record.topic, partition=record.partition, offset=record.offset, exc_info=error
        )
        try:
            chunk = decode(CHUNK_READY, ChunkReady, record.value, record.headers)
        except PoisonEvent:
            await self._aside(record, "defect", code, message)
        else:  # without an outcome its delivery would never end
            await self.lost(record, chunk, Lost("defect", code, message, kind="defect"), attempts=1)

    async def _aside(self, record: Record, kind: str, code: str, message: str) -> None:
        await self._dead_letters.bury(record, kind=kind, code=code, message=message, attempts=1)
        self._telemetry.emit(PoisonBuried(record.topic, record.partition, record.offset, code, message))

    def _settled(
        self, chunk: ChunkReady, ending: Ending, outcome: Outcome, counts: ChunkCounts, attempts: int
    ) -> ChunkSettled:
        return ChunkSettled(
            revision=chunk.revision,
            file_index=chunk.file_index,
            chunk_index=chunk.chunk_index,
            ad_account_id=chunk.ad_account_id,
            audience_id=chunk.audience_id,
            outcome=outcome,
            counts=counts,
            calls=ending.calls,
            attempts=attempts,
            fbtrace_id=ending.fbtrace_id,
            emission=chunk.emission,
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
        await self._producer.send(self._topic, event.key, event.value, event.headers)
