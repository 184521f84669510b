"""Replacing a whole audience: the order in which the chunks of one delivery may be sent, and beginning again.

Meta replaces within a session: batch 1 first and alone, the others in any order, and the one that says it is the last
closes it; 90 minutes after batch 1 it closes by itself, with what had arrived. So nothing is sent before everything is
planned, then the first chunk, then all but the last, then the last. The ledger says whose turn it is, so a crash, a
rebalance or a delay topic changes nothing. All chunks of a replacement have the same emission: it names the session.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from sqlalchemy import Subquery, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import Reason, ReplaceBatch
from services.ingest.chunks import REOPENED
from services.ingest.states import Planning, Settlement
from services.ingest.tables import chunks, files

MAX_EMISSIONS = 5
"""A replacement that had to begin again so often has another problem: it does not fit into 90 minutes, for one."""

INCOMPLETE = Reason(
    code="replace_incomplete",
    message="not all files of the replacement could be planned: nothing was sent, the audience is as it was",
    advice="look at the reason of each file, mend it, and publish the replacement again with a new revision",
)
BROKEN = Reason(
    code="replace_broken",
    message="another part of the replacement was given up: it is not completed",
    advice="mend that part's cause and publish the replacement again with a new revision",
)
TOO_OFTEN = Reason(
    code="replace_restarts_exhausted",
    message=f"the replacement's session ended early {MAX_EMISSIONS} times",
    advice="what takes longer than 90 minutes is delivered by add and remove instead",
)

ChunkKey = tuple[int, int]
"""File index and chunk index."""


@dataclass(frozen=True)
class Progress:
    """How far a replacement is: chunks in all and delivered ones; `complete` when no file is unplanned or failed."""

    complete: bool
    total: int
    delivered: int
    first_delivered: bool


class Turn(Enum):
    """Which chunks may be sent."""

    NOBODY = auto()
    FIRST = auto()
    MIDDLE = auto()
    LAST = auto()


def turn(progress: Progress) -> Turn:
    """Whose turn it is. Chunks that were sent and are not delivered yet have had theirs."""
    if not progress.complete or progress.delivered == progress.total:
        return Turn.NOBODY
    if not progress.first_delivered:
        return Turn.FIRST
    return Turn.LAST if progress.delivered == progress.total - 1 else Turn.MIDDLE


async def due(connection: AsyncConnection, revision: int, limit: int) -> dict[ChunkKey, ReplaceBatch]:
    """The chunks of a replacement that may be sent now and were not, with their places, at most *limit*."""
    progress = await _progress(connection, revision)
    allowed = {
        Turn.NOBODY: range(0),
        Turn.FIRST: range(1, 2),
        Turn.MIDDLE: range(2, progress.total),
        Turn.LAST: range(progress.total, progress.total + 1),
    }[turn(progress)]
    if not allowed:
        return {}
    numbered = _numbered(revision)
    query = (
        select(numbered)
        .where(
            numbered.c.number.between(allowed.start, allowed.stop - 1),
            numbered.c.emitted < numbered.c.emission,
            numbered.c.settlement == Settlement.OPEN,
        )
        .order_by(numbered.c.number)
        .limit(limit)
    )
    return {
        (row.file_index, row.chunk_index): ReplaceBatch(number=row.number, total=progress.total)
        for row in await connection.execute(query)
    }


async def restart(connection: AsyncConnection, revision: int) -> int:
    """Lets all chunks of a replacement be sent again, in a new session; how many. The caller has locked the delivery.

    `settled_at` stays, as in a release. The caller has seen that no part was given up.
    """
    result = await connection.execute(
        update(chunks)
        .where(chunks.c.revision == revision)
        .values(
            **REOPENED,
            emission=select(func.max(chunks.c.emission) + 1).where(chunks.c.revision == revision).scalar_subquery(),
        )
    )
    return result.rowcount


async def give_up(connection: AsyncConnection, revision: int, reason: Reason, now: datetime) -> None:
    """Settles as dead what of a replacement waits or was not sent; what is under way settles on its own."""
    unsent = (chunks.c.settlement == Settlement.OPEN) & (chunks.c.emitted < chunks.c.emission)
    await connection.execute(
        update(chunks)
        .where(chunks.c.revision == revision, unsent | (chunks.c.settlement == Settlement.WAITING))
        .values(
            settlement=Settlement.DEAD,
            waiting=0,
            dead=chunks.c.records,
            reason=reason.model_dump(mode="json"),
            emitted=chunks.c.emission,
            settled_at=now,
        )
    )


async def any_in(connection: AsyncConnection, revision: int, settlement: Settlement) -> bool:
    """Whether any chunk of a delivery is in *settlement*."""
    found = select(chunks.c.revision).where(chunks.c.revision == revision, chunks.c.settlement == settlement).limit(1)
    return (await connection.execute(found)).first() is not None


def _numbered(revision: int) -> Subquery:
    order = func.row_number().over(order_by=(chunks.c.file_index, chunks.c.chunk_index))
    return select(chunks, order.label("number")).where(chunks.c.revision == revision).subquery()


async def _progress(connection: AsyncConnection, revision: int) -> Progress:
    unfinished = select(files.c.revision).where(files.c.revision == revision, files.c.planning != Planning.PLANNED)
    complete = (await connection.execute(unfinished.limit(1))).first() is None
    delivered = chunks.c.settlement == Settlement.DELIVERED
    first = (
        select(chunks.c.file_index, chunks.c.chunk_index)
        .where(chunks.c.revision == revision)
        .order_by(chunks.c.file_index, chunks.c.chunk_index)
        .limit(1)
    )
    is_first = tuple_(chunks.c.file_index, chunks.c.chunk_index).in_(first)
    query = select(
        func.count().label("total"),
        func.count().filter(delivered).label("delivered"),
        func.count().filter(delivered & is_first).label("first"),
    ).where(chunks.c.revision == revision)
    row = (await connection.execute(query)).one()
    return Progress(complete, row.total, row.delivered, row.first > 0)
