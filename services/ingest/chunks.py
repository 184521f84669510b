"""The ledger's chunks: planned, emitted, settled."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from connector.files.cutting import Chunk
from connector.files.formats import FileKind
from schemas.events import ChunkSettled, Dead, Delivered, DeliveryState, Reason, Table, Waiting
from services.ingest.files import PlannedFile, kind_of, table_of
from services.ingest.plan import range_of
from services.ingest.states import Settlement
from services.ingest.tables import chunks, deliveries, files


@dataclass(frozen=True)
class DueChunk:
    """A chunk that is to be sent for the `emission`-th time, and whose sending Kafka has not acknowledged."""

    revision: int
    file_index: int
    chunk_index: int
    emission: int
    etag: str
    chunk: Chunk
    kind: FileKind
    table: Table | None


async def add(connection: AsyncConnection, file: PlannedFile, planned: Sequence[Chunk]) -> None:
    """Writes *planned*, which follow the checkpoint of *file*."""
    if not planned:
        return
    rows = [
        {
            "revision": file.revision,
            "file_index": file.index,
            "chunk_index": file.checkpoint.chunks + position,
            "range_kind": range_of(file.kind, chunk).kind,
            "row_group": chunk.row_group,
            "range_start": chunk.start,
            "range_end": chunk.end,
            "first_record": chunk.first_record,
            "first_line": chunk.first_line,
            "records": chunk.records,
        }
        for position, chunk in enumerate(planned)
    ]
    await connection.execute(insert(chunks), rows)


async def due(
    connection: AsyncConnection, revision: int, limit: int, among: Collection[tuple[int, int]] | None = None
) -> list[DueChunk]:
    """Chunks of a delivery that are to be sent, in their order; only those *among* (file index, chunk index)."""
    query = (
        select(chunks, files.c.etag, files.c.format, files.c.compression, files.c.as_table)
        .join(files, (files.c.revision == chunks.c.revision) & (files.c.file_index == chunks.c.file_index))
        .where(chunks.c.revision == revision, chunks.c.emitted < chunks.c.emission)
        .order_by(chunks.c.file_index, chunks.c.chunk_index)
        .limit(limit)
    )
    if among is not None:
        query = query.where(tuple_(chunks.c.file_index, chunks.c.chunk_index).in_(among))
    return [_due(row) for row in await connection.execute(query)]


async def unsent(connection: AsyncConnection, *, before: datetime, limit: int) -> list[int]:
    """Deliveries that moved last before *before* and have chunks that were never sent: what a crash left behind.

    Those of a replacement may only wait for their turn; and who is still planning sends its chunks itself.
    """
    query = (
        select(chunks.c.revision)
        .distinct()
        .join(deliveries, deliveries.c.revision == chunks.c.revision)
        .where(
            chunks.c.emitted < chunks.c.emission,
            deliveries.c.state == DeliveryState.UPLOADING,
            deliveries.c.updated_at < before,
        )
        .limit(limit)
    )
    return list(await connection.scalars(query))


async def mark_emitted(connection: AsyncConnection, emitted: Sequence[DueChunk]) -> None:
    """Notes that Kafka acknowledged these."""
    keys = [(chunk.revision, chunk.file_index, chunk.chunk_index, chunk.emission) for chunk in emitted]
    here = tuple_(chunks.c.revision, chunks.c.file_index, chunks.c.chunk_index, chunks.c.emission)
    await connection.execute(update(chunks).where(here.in_(keys)).values(emitted=chunks.c.emission))


@dataclass(frozen=True)
class ChunkStanding:
    """What an outcome is measured against."""

    records: int
    settlement: Settlement
    emission: int
    settled_at: datetime | None


async def standing(connection: AsyncConnection, event: ChunkSettled) -> ChunkStanding | None:
    """The chunk *event* speaks of, or None when there is none."""
    query = select(chunks.c.records, chunks.c.settlement, chunks.c.emission, chunks.c.settled_at).where(
        _same_chunk(event)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else ChunkStanding(row.records, Settlement(row.settlement), row.emission, row.settled_at)


async def settle(connection: AsyncConnection, event: ChunkSettled, settlement: Settlement) -> None:
    """Writes what became of a chunk; the delivery's row is locked by the caller."""
    counts = event.counts
    reason = reason_of(event)
    await connection.execute(
        update(chunks)
        .where(_same_chunk(event))
        .values(
            settlement=settlement,
            accepted=counts.accepted,
            invalid=counts.invalid,
            rejected=counts.rejected,
            waiting=counts.waiting,
            dead=counts.dead,
            reject_reasons=event.reject_reasons,
            cell_rejects=event.cell_rejects,
            reason=None if reason is None else reason.model_dump(mode="json"),
            calls=event.calls,
            attempts=event.attempts,
            fbtrace_id=event.fbtrace_id,
            settled_at=event.settled_at,
        )
    )


def reason_of(event: ChunkSettled) -> Reason | None:
    """Why a chunk waits or died."""
    match event.outcome:
        case Delivered():
            return None
        case Waiting(cause=cause, scope=scope, advice=advice):
            return Reason(code=cause, message=f"waits for a person: {cause} ({scope})", advice=advice)
        case Dead(reason=code, message=message):
            advice = "look into the dead-letter topic of the chunks, fix the cause, and publish the file again"
            return Reason(code=code, message=message or code, advice=advice)


REOPENED: Mapping[str, Any] = {
    "settlement": Settlement.OPEN,
    "accepted": 0,
    "invalid": 0,
    "rejected": 0,
    "waiting": 0,
    "dead": 0,
    "reject_reasons": {},
    "cell_rejects": {},
    "reason": None,
}
"""A chunk that is to be settled once more: in no place, for no reason."""


async def release_waiting(connection: AsyncConnection, revision: int) -> int:
    """Opens the waiting chunks of a delivery and makes them due once more; how many.

    `settled_at` stays: it recognises the outcome that was applied already, should it be read again.
    """
    result = await connection.execute(
        update(chunks)
        .where(chunks.c.revision == revision, chunks.c.settlement == Settlement.WAITING)
        .values(
            **REOPENED,
            emission=chunks.c.emission + 1,
        )
    )
    return result.rowcount


async def to_release(connection: AsyncConnection, profile_id: UUID) -> list[int]:
    """Deliveries of a profile with chunks that wait, or that were released and not sent yet (a crash in between)."""
    unsent = (chunks.c.emitted < chunks.c.emission) & (chunks.c.emission > 1)
    query = (
        select(chunks.c.revision)
        .distinct()
        .join(deliveries, deliveries.c.revision == chunks.c.revision)
        .where(deliveries.c.profile_id == profile_id, unsent | (chunks.c.settlement == Settlement.WAITING))
        .order_by(chunks.c.revision)
    )
    return list(await connection.scalars(query))


async def give_up_unemitted(connection: AsyncConnection, revision: int, reason: Reason, now: datetime) -> None:
    """Settles as dead what was planned and could never be sent: an open chunk nobody has would never end."""
    await connection.execute(
        update(chunks)
        .where(
            chunks.c.revision == revision,
            chunks.c.emitted < chunks.c.emission,
            chunks.c.settlement == Settlement.OPEN,
        )
        .values(
            settlement=Settlement.DEAD,
            dead=chunks.c.records,
            reason=reason.model_dump(mode="json"),
            emitted=chunks.c.emission,
            settled_at=now,
        )
    )


def _same_chunk(event: ChunkSettled) -> Any:
    return (
        (chunks.c.revision == event.revision)
        & (chunks.c.file_index == event.file_index)
        & (chunks.c.chunk_index == event.chunk_index)
    )


def _due(row: Row[Any]) -> DueChunk:
    return DueChunk(
        revision=row.revision,
        file_index=row.file_index,
        chunk_index=row.chunk_index,
        emission=row.emission,
        etag=row.etag,
        chunk=Chunk(
            row.range_start, row.range_end, row.first_record, row.first_line, row.records, row_group=row.row_group
        ),
        kind=kind_of(row),
        table=table_of(row),
    )
