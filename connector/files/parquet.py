"""The rows of one row group of a Parquet file, read a few at a time.

A Parquet file is small on purpose: a value that repeats a billion times takes a few bytes of it. So nothing here trusts
a size the file states about itself. Columns whose dictionaries hold long values are read as dictionaries, which repeat
nothing; what a batch comes to once written out is counted before it is, and the batches are small.

Pure but for the file object it is handed: blocking reads, so run it in a thread. Arrow is imported where it is used:
40 MB that a process without Parquet does not need.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from connector.audience.layouts import Reading, column_of
from connector.audience.records import Records
from connector.audience.records_parquet import parquet_records
from connector.files.limits import DEFAULT_LIMITS, Limits, check
from connector.files.parquet_damage import UnreadableParquet, refusing
from connector.files.parquet_footer import MAX_FIXED_BYTES, footer_of, read_chunks
from connector.files.parquet_opening import opened, reopened
from connector.files.parquet_pages import BATCH_ROWS, CAREFUL_ROWS, Seekable, WatchedFile
from connector.files.parquet_values import marker, plain, written_out
from connector.files.tape import Kind

if TYPE_CHECKING:
    import pyarrow as pa

NARROW_BYTES = 64 << 20
"""What a batch may take at most without being counted first."""

GATHERED_BYTES = 4 << 20
"""What rows that are read carefully are gathered up to."""


def batches(
    file: Seekable, row_group: int, reading: Reading, limits: Limits = DEFAULT_LIMITS
) -> Iterator["pa.RecordBatch"]:
    """The rows of a row group in order, what *reading* looks at and nothing else, as `frame_records` takes them.

    Raises:
        UnreadableParquet: It cannot be read.
        LimitViolated: It is more than a row group may be; nothing of the excess was handed out.
    """
    with refusing():
        watched = WatchedFile(file, limits.row_group)
        arrow, chunks = opened(watched)
        metadata = arrow.metadata
        footer = footer_of(metadata, limits)
        if row_group >= len(footer.row_groups):
            raise UnreadableParquet("no_such_rows")
        columns = list(footer.columns(reading))
        watched.watch(read_chunks(metadata, chunks[row_group], columns))
        unreadable = footer.unreadable(reading)
        mapped = [name for name in columns if not watched.has_delta(name)]
        if not _is_narrow(watched, metadata, row_group, mapped):
            arrow = reopened(watched, metadata=metadata, read_dictionary=mapped)
        at_once = CAREFUL_ROWS if watched.is_careful else BATCH_ROWS
        rows = arrow.iter_batches(at_once, row_groups=[row_group], columns=columns, use_threads=False)
        for batch in _gathered(_counted(rows, limits.row_group)):
            yield plain(batch, reading, unreadable)


def _counted(rows: "Iterable[pa.RecordBatch]", most: int) -> "Iterator[tuple[pa.RecordBatch, int]]":
    """Each batch with what it takes; no more of them than *most* in all."""
    decoded = 0
    for batch in rows:
        size = written_out(batch)
        decoded += size
        check("row_group_bytes", most, decoded)
        yield batch, size


def _gathered(rows: "Iterable[tuple[pa.RecordBatch, int]]") -> "Iterator[pa.RecordBatch]":
    """Batches of `BATCH_ROWS` rows or `GATHERED_BYTES` of smaller ones: each that is handed on costs."""
    import pyarrow as pa  # noqa: PLC0415

    parts: list[pa.RecordBatch] = []
    count = size = 0
    for batch, more in rows:
        parts.append(batch)
        count, size = count + len(batch), size + more
        if count >= BATCH_ROWS or size >= GATHERED_BYTES:
            yield parts[0] if len(parts) == 1 else pa.concat_batches(parts)
            parts, count, size = [], 0, 0
    if parts:
        yield pa.concat_batches(parts)


def frame_records(pieces: Iterable["pa.RecordBatch"], reading: Reading, *, first_record: int) -> Records:
    """The records of consecutive `batches`, or parts of them.

    Raises:
        UnreadableParquet: Their columns do not go together.
    """
    import polars as pl  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    try:
        table = pa.concat_tables([pa.Table.from_batches([piece]) for piece in pieces], promote_options="default")
        frame = pl.DataFrame(pl.from_arrow(table))
    except (pl.exceptions.PolarsError, pa.ArrowException):
        raise UnreadableParquet("damaged") from None
    records = parquet_records(frame, reading, first_record=first_record)
    wrong = dict(records.wrong)
    for path in reading.paths:
        if marker(path) in frame.columns:
            name = column_of(path)
            known = wrong.get(name, pl.Series(dtype=pl.UInt32))
            marked = frame[marker(path)].fill_null(value=False).arg_true()
            wrong[name] = pl.concat([known.cast(pl.UInt32), marked.cast(pl.UInt32)]).unique().sort()
    return Records(records.count, records.frame, wrong=wrong)


def _part(batch: "pa.RecordBatch", start: int, end: int) -> "pa.RecordBatch":
    return batch.slice(start, end - start)


ROWS: "Kind[pa.RecordBatch]" = Kind(lambda batch: batch.num_rows, _part, lambda batch: int(batch.nbytes))
"""How `batches` are measured: in rows. Parts of one share its memory."""


def _is_narrow(file: Seekable, metadata: Any, row_group: int, columns: list[str]) -> bool:
    """Whether a batch stays small even where each of its rows holds the longest values of the columns' dictionaries.

    What stands in no dictionary takes its bytes in the file. Reading dictionaries as such is safe whatever they hold,
    but costs five times as much where most values differ: Arrow then builds one of every value of the row group.
    """
    if not columns:
        return True
    arrow = reopened(file, metadata=metadata, read_dictionary=columns)
    first = next(arrow.iter_batches(1, row_groups=[row_group], columns=columns, use_threads=False), None)
    return first is None or sum(map(_longest, first.columns)) * BATCH_ROWS <= NARROW_BYTES


def _longest(column: "pa.Array") -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if isinstance(column, pa.StructArray):
        return sum(map(_longest, (column.field(number) for number in range(column.type.num_fields))))
    if isinstance(column, pa.DictionaryArray):
        return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return MAX_FIXED_BYTES
