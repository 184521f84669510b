"""The ledger's files: which version is planned, and where its plan goes on."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from connector.files.cutting import Checkpoint
from connector.files.formats import FileKind
from connector.objects.store import ObjectInfo
from schemas.events import Compression, Format, Reason, Table
from services.ingest.patience import TryLater
from services.ingest.states import Planning
from services.ingest.tables import files


@dataclass(frozen=True)
class PlannedFile:
    """One file of a delivery as the ledger has it.

    Until it was opened, `etag` is None and `kind` and `table` say nothing.
    """

    revision: int
    index: int
    name: str
    store: str
    key: str
    planning: Planning
    etag: str | None
    checkpoint: Checkpoint
    kind: FileKind
    table: Table | None
    preflight: dict[str, Any] | None = None
    """What its first records looked like; None before anybody looked."""

    @property
    def unplanned(self) -> bool:
        """Whether its plan has not ended."""
        return self.planning in {Planning.PENDING, Planning.PLANNING}


class Overtaken(TryLater):
    """Raised when somebody else planned on since the file was read.

    After a rebalance the old owner of a partition may go on for a moment. Its transaction is undone as a whole, so no
    chunk is in the ledger twice.
    """

    def __init__(self, revision: int, index: int) -> None:
        super().__init__(
            "planned_elsewhere", f"file {index} of delivery {revision} is being planned by another process"
        )


async def of_delivery(connection: AsyncConnection, revision: int) -> list[PlannedFile]:
    """The files of a delivery in their order."""
    query = select(files).where(files.c.revision == revision).order_by(files.c.file_index)
    return [_file(row) for row in await connection.execute(query)]


async def pin(
    connection: AsyncConnection, file: PlannedFile, info: ObjectInfo, kind: FileKind, table: Table | None
) -> PlannedFile:
    """Starts planning: from here on only this version of the object is read, and only so, by us and by the uploader."""
    await _write(
        connection,
        file,
        planning=Planning.PLANNING,
        etag=info.etag,
        size=info.size,
        format=kind.format,
        compression=kind.compression,
        as_table=None if table is None else table.model_dump(mode="json"),
    )
    return replace(file, planning=Planning.PLANNING, etag=info.etag, kind=kind, table=table)


async def looked_at(connection: AsyncConnection, file: PlannedFile, report: dict[str, Any]) -> PlannedFile:
    """Notes what the first records looked like: no values, no hashes."""
    await _write(connection, file, preflight=report)
    return replace(file, preflight=report)


async def advance(connection: AsyncConnection, file: PlannedFile, checkpoint: Checkpoint) -> PlannedFile:
    """Notes that everything before *checkpoint* is in the ledger; in the transaction that writes it there."""
    await _write(
        connection,
        file,
        checkpoint_offset=checkpoint.offset,
        checkpoint_records=checkpoint.records,
        checkpoint_lines=checkpoint.lines,
        checkpoint_chunks=checkpoint.chunks,
        checkpoint_rejected=checkpoint.rejected,
    )
    return replace(file, checkpoint=checkpoint)


async def finish(connection: AsyncConnection, file: PlannedFile) -> None:
    """Ends planning: no chunk will be added."""
    await _write(connection, file, planning=Planning.PLANNED)


async def fail(connection: AsyncConnection, file: PlannedFile, reason: Reason) -> None:
    """Ends planning for *reason*. Chunks that were emitted before settle on their own."""
    await _write(connection, file, planning=Planning.FAILED, reason=reason.model_dump(mode="json"))


async def fail_unplanned(connection: AsyncConnection, revision: int, reason: Reason) -> None:
    """Gives up every file of a delivery whose planning has not ended."""
    unplanned = files.c.planning.in_([Planning.PENDING, Planning.PLANNING])
    await connection.execute(
        update(files)
        .where(files.c.revision == revision, unplanned)
        .values(planning=Planning.FAILED, reason=reason.model_dump(mode="json"))
    )


async def _write(connection: AsyncConnection, file: PlannedFile, **values: Any) -> None:
    """Writes only if the row still is as *file* says: the fence against a second planner (see `Overtaken`)."""
    as_known = (
        (files.c.revision == file.revision)
        & (files.c.file_index == file.index)
        & (files.c.planning == file.planning)
        & (files.c.checkpoint_offset == file.checkpoint.offset)
        & (files.c.checkpoint_records == file.checkpoint.records)
    )
    written = await connection.execute(update(files).where(as_known).values(**values))
    if written.rowcount != 1:
        raise Overtaken(file.revision, file.index)


def kind_of(row: Row[Any]) -> FileKind:
    """How the file of *row*, which has the columns of `files`, is read."""
    return FileKind(Format(row.format or Format.NDJSON), Compression(row.compression or Compression.NONE))


def table_of(row: Row[Any]) -> Table | None:
    """How its lines are read, in CSV and TSV."""
    return None if row.as_table is None else Table.model_validate(row.as_table)


def _file(row: Row[Any]) -> PlannedFile:
    return PlannedFile(
        revision=row.revision,
        index=row.file_index,
        name=row.name,
        store=row.store,
        key=row.key,
        planning=Planning(row.planning),
        etag=row.etag,
        checkpoint=Checkpoint(
            offset=row.checkpoint_offset,
            records=row.checkpoint_records,
            lines=row.checkpoint_lines,
            chunks=row.checkpoint_chunks,
            rejected=row.checkpoint_rejected,
        ),
        kind=kind_of(row),
        table=table_of(row),
        preflight=row.preflight,
    )
