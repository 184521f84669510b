"""The ledger's samples of refused records: by number and reason, at most a hundred per file, never a value."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import Reject
from services.ingest.tables import rejects

MAX_SAMPLES = 100
"""Samples kept per file. The counts per reason are complete, and are kept with the chunks."""


async def keep(connection: AsyncConnection, revision: int, file_index: int, samples: Sequence[Reject]) -> None:
    """Adds *samples* while there is room. The delivery's row is locked by the caller, so two cannot overfill."""
    if not samples:
        return
    of_file = (rejects.c.revision == revision) & (rejects.c.file_index == file_index)
    kept = await connection.scalar(select(func.count()).select_from(rejects).where(of_file)) or 0
    room = samples[: MAX_SAMPLES - kept]
    if room:
        rows = [{"revision": revision, "file_index": file_index, **sample.model_dump()} for sample in room]
        await connection.execute(upsert(rejects).on_conflict_do_nothing(), rows)


async def of_delivery(connection: AsyncConnection, revision: int) -> dict[int, list[Reject]]:
    """The samples of each file, in the order of its records."""
    query = select(rejects).where(rejects.c.revision == revision).order_by(rejects.c.file_index, rejects.c.record)
    samples: dict[int, list[Reject]] = {}
    for row in await connection.execute(query):
        reject = Reject(record=row.record, line=row.line, reason=row.reason, column=row.column)
        samples.setdefault(row.file_index, []).append(reject)
    return samples
