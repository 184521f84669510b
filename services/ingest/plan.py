"""What a delivery becomes: the decisions of planning, and the chunk events a file is cut into. Pure.

Read this first. `services.ingest.planning` does the reading and writing around it, in this order: `refused` (is there
anything to plan), `opened` (is the object the one that was announced), `chunk_ready` for each range a file is cut into,
`finished` (was there anything in the file).
"""

from dataclasses import dataclass, field
from typing import assert_never

from connector.files.cutting import Checkpoint, Chunk, Item, TooLong
from connector.files.decoding import Corrupt
from connector.files.formats import FileKind, Refusal
from connector.files.limits import LimitViolated
from connector.files.parquet_damage import UnreadableParquet
from connector.objects.errors import StoreError
from connector.objects.store import ObjectInfo, unquoted
from schemas.events import (
    ByteRange,
    ChunkRange,
    ChunkReady,
    Compression,
    DecodedRange,
    DeliveryKind,
    DeliveryRequested,
    DeliveryState,
    FileRef,
    Reason,
    Reject,
    RowRange,
    Table,
)

MAX_REASON_TEXT = 512


@dataclass(frozen=True)
class Destination:
    """Where a delivery's people go, as auth resolved it.

    `value_based` says that the audience there is made of how much people are worth; it is no part of the place.
    """

    ad_account_id: str
    audience_id: str
    value_based: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Ending:
    """A delivery that ends without being planned."""

    state: DeliveryState
    reason: Reason


@dataclass(frozen=True)
class Cut:
    """What one stretch of a file became: chunks in order, and the records that are in none of them."""

    chunks: tuple[Chunk, ...]
    rejects: tuple[Reject, ...]


ADVICE = {
    "unknown_store": "name one of the configured stores in the delivery, or configure this one (FBC_STORES)",
    "invalid_key": "write the key as a path below the store's root, without leading slash, '.' or '..'",
    "object_missing": "write the file first, then publish the delivery again with a new revision",
    "object_changed": "do not write to a published file; publish it again under a new key and revision",
    "object_truncated": "the file became shorter while it was read; publish it again under a new key and revision",
    "store_refused": "check the credentials, the permissions and the bucket's name of this store",
    "limit_violated": "split the file into smaller ones, and write them as your tools do by default",
    "corrupt_file": "write the file again, check it (gzip -t, zstd -t), and publish it under a new key",
    "empty_file": "publish files with at least one record",
}
DEFAULT_ADVICE = "fix the file or the delivery, then publish it again with a new revision"


def reason(code: str, message: str, advice: str | None = None) -> Reason:
    """A reason with the advice its code has; texts are clipped to what an event may carry."""
    chosen = advice if advice is not None else ADVICE.get(code, DEFAULT_ADVICE)
    return Reason(code=code, message=message[:MAX_REASON_TEXT], advice=chosen[:MAX_REASON_TEXT])


def refused(event: DeliveryRequested) -> Ending | None:
    """Why *event* is not planned at all, or None when it is."""
    if event.kind is DeliveryKind.CONNECTION_CREATED and not event.quick_settings.historical_data_enabled:
        return Ending(
            DeliveryState.CANCELLED,
            reason(
                "history_not_requested",
                "the connection was created without historical data: there is nothing to deliver yet",
                "nothing to do; to deliver its history, create it with historical_data_enabled",
            ),
        )
    if not event.files:
        return Ending(
            DeliveryState.FAILED,
            reason("no_files", "the delivery names no files", "publish it again with its files and a new revision"),
        )
    return None


def opened(file: FileRef, info: ObjectInfo) -> Reason | None:
    """Why the object found is not the one that was announced, or None when it may be planned.

    Upstream may give size and etag; what it gave must hold, or it describes another object than the one that lies here.
    """
    if file.etag is not None and unquoted(file.etag) != info.etag:
        return reason("object_changed", f"{file.name}: the object's etag is not the one the delivery names")
    if file.bytes is not None and file.bytes != info.size:
        message = f"{file.name}: the object has {info.size} bytes, the delivery names {file.bytes}"
        return reason("object_changed", message)
    if info.size == 0:
        return _empty(file)
    return None


def unreadable(file: FileRef, error: StoreError) -> Reason:
    """The reason a file is given up for, from what its store said."""
    return reason(error.code, f"{file.name}: {error}")


def unfit(file: FileRef, error: Corrupt | UnreadableParquet | LimitViolated) -> Reason:
    """The reason a file is given up for, from what was found while decoding and cutting it."""
    code = "limit_violated" if isinstance(error, LimitViolated) else "corrupt_file"
    return reason(code, f"{file.name}: {error}")


def unread(file: FileRef, refusal: Refusal) -> Reason:
    """The reason a file is not even begun for."""
    return reason(refusal.code, f"{file.name}: {refusal.message}", refusal.advice)


def finished(file: FileRef, checkpoint: Checkpoint) -> Reason | None:
    """Why a file read to its end is no good, or None when it has at least one record."""
    return _empty(file) if checkpoint.records == 0 else None


def _empty(file: FileRef) -> Reason:
    return reason("empty_file", f"{file.name}: the file holds no record")


def cut(items: list[Item]) -> Cut:
    """The cutter's *items*, sorted by what the ledger does with them."""
    chunks: list[Chunk] = []
    rejects: list[Reject] = []
    for item in items:
        match item:
            case Chunk():
                chunks.append(item)
            case TooLong():
                rejects.append(Reject(record=item.record, line=item.line, reason=LINE_TOO_LONG))
            case _:
                assert_never(item)
    return Cut(tuple(chunks), tuple(rejects))


LINE_TOO_LONG = "line_too_long"
"""The reason of a record that is in no chunk because its line is longer than any reader would hold."""


def chunk_ready(
    event: DeliveryRequested,
    destination: Destination,
    *,
    file_index: int,
    etag: str,
    chunk_index: int,
    chunk: Chunk,
    kind: FileKind,
    table: Table | None,
) -> ChunkReady:
    """The event of one chunk. The same plan always makes the same events, so a repeated one is recognisable."""
    file = event.files[file_index]
    return ChunkReady(
        revision=event.revision,
        file_index=file_index,
        chunk_index=chunk_index,
        company_id=event.company_id,
        profile_id=event.profile_id,
        ad_account_id=destination.ad_account_id,
        audience_id=destination.audience_id,
        operation=event.operation,
        layout=event.layout,
        file_name=file.name,
        store=file.store,
        key=file.key,
        etag=etag,
        range=range_of(kind, chunk),
        first_record=chunk.first_record,
        first_line=chunk.first_line,
        records=chunk.records,
        mapping=event.mapping,
        format=kind.format,
        compression=kind.compression,
        table=table,
        value_based=destination.value_based,
    )


def range_of(kind: FileKind, chunk: Chunk) -> ChunkRange:
    """What a reader asks a file of *kind* for."""
    if chunk.row_group is not None:
        return RowRange(row_group=chunk.row_group, start=chunk.start, end=chunk.end)
    if kind.compression is not Compression.NONE:
        return DecodedRange(start=chunk.start, end=chunk.end)
    return ByteRange(start=chunk.start, end=chunk.end)
