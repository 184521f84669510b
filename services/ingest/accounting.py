"""Where every record is, as sums over the ledger's rows. No counter is kept that could drift from them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Row, Select, and_, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import Reason, Totals
from services.ingest.plan import LINE_TOO_LONG
from services.ingest.states import FileFacts, Planning, Settlement
from services.ingest.tables import chunks, files

Facts = dict[int, dict[int, FileFacts]]
"""Revision to file index to facts."""

_PLACES = ("accepted", "invalid", "rejected", "waiting", "dead")


async def file_facts(connection: AsyncConnection, revisions: Sequence[int]) -> Facts:
    """What the ledger counts for each file of *revisions*; a revision without files has an empty entry."""
    facts: Facts = {revision: {} for revision in revisions}
    for row in await connection.execute(_counted(revisions)):
        facts[row.revision][row.file_index] = _facts(row)
    return facts


def _counted(revisions: Sequence[int]) -> Select[Any]:
    of_file = and_(chunks.c.revision == files.c.revision, chunks.c.file_index == files.c.file_index)
    return (
        select(
            files.c.revision,
            files.c.file_index,
            files.c.planning,
            files.c.reason,
            files.c.checkpoint_rejected,
            _sum("records"),
            *(_sum(name) for name in _PLACES),
            func.count(chunks.c.chunk_index).label("chunks"),
            *(_chunks_in(settlement) for settlement in (Settlement.OPEN, Settlement.WAITING, Settlement.DEAD)),
            _first_reason(Settlement.DEAD),
            _first_reason(Settlement.WAITING),
        )
        .select_from(files.outerjoin(chunks, of_file))
        .where(files.c.revision.in_(revisions))
        .group_by(files.c.revision, files.c.file_index)
    )


def _sum(name: str) -> ColumnElement[int]:
    return func.coalesce(func.sum(chunks.c[name]), 0).label(name)


def _chunks_in(settlement: Settlement) -> ColumnElement[int]:
    return func.count().filter(chunks.c.settlement == settlement).label(f"chunks_{settlement}")


def _first_reason(settlement: Settlement) -> ColumnElement[Any]:
    """The reason of the file's first chunk in *settlement*, as JSON, or NULL."""
    ordered = func.array_agg(aggregate_order_by(chunks.c.reason, chunks.c.chunk_index))
    return ordered.filter(chunks.c.settlement == settlement)[1].label(f"reason_{settlement}")


def _facts(row: Row[Any]) -> FileFacts:
    places = {name: int(getattr(row, name)) for name in _PLACES}
    places["rejected"] += row.checkpoint_rejected
    return FileFacts(
        planning=Planning(row.planning),
        totals=Totals(records=int(row.records) + row.checkpoint_rejected, **places),
        chunks=row.chunks,
        open=row.chunks_open,
        waiting=row.chunks_waiting,
        dead=row.chunks_dead,
        plan_failure=_reason(row.reason),
        death=_reason(row.reason_dead),
        wait=_reason(row.reason_waiting),
    )


def _reason(document: Any) -> Reason | None:
    return None if document is None else Reason.model_validate(document)


async def reject_reasons(connection: AsyncConnection, revision: int) -> dict[int, dict[str, int]]:
    """How many records of each file were refused for which reason, complete."""
    reasons = await _counted_by_key(connection, revision, chunks.c.reject_reasons)
    too_long = select(files.c.file_index, files.c.checkpoint_rejected).where(
        files.c.revision == revision, files.c.checkpoint_rejected > 0
    )
    for row in await connection.execute(too_long):
        of_file = reasons.setdefault(row.file_index, {})
        of_file[LINE_TOO_LONG] = of_file.get(LINE_TOO_LONG, 0) + row.checkpoint_rejected
    return reasons


async def cell_rejects(connection: AsyncConnection, revision: int) -> dict[int, dict[str, int]]:
    """How many values of each file were left out, by `<key>:<reason>`; their records may have left all the same."""
    return await _counted_by_key(connection, revision, chunks.c.cell_rejects)


async def _counted_by_key(connection: AsyncConnection, revision: int, counts: Column[Any]) -> dict[int, dict[str, int]]:
    """The sum of a column of JSON counts over the chunks of each file, key by key."""
    pairs = func.jsonb_each_text(counts).table_valued("key", "value").render_derived()
    query = (
        select(chunks.c.file_index, pairs.c.key, func.sum(cast(pairs.c.value, BigInteger)).label("total"))
        .select_from(chunks.join(pairs, literal_column("true")))
        .where(chunks.c.revision == revision)
        .group_by(chunks.c.file_index, pairs.c.key)
    )
    found: dict[int, dict[str, int]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.file_index, {})[row.key] = int(row.total)
    return found
