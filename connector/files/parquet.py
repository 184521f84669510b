"""A Parquet file, read a few rows at a time: what it holds, what its chunks are, and the rows of one row group.

A Parquet file is small on purpose: a value that repeats a billion times takes a few bytes of it. So nothing here trusts
a size the file states about itself. Columns whose dictionaries hold long values are read as dictionaries, which repeat
nothing; what a batch comes to once written out is counted before it is, and the batches are small.

Pure but for the file object it is handed: blocking reads, so run it in a thread. Arrow is imported where it is used:
40 MB that a process without Parquet does not need.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from connector.audience.layouts import Path, Reading, column_of
from connector.audience.records import Records
from connector.audience.records_parquet import parquet_records
from connector.files.formats import Refusal
from connector.files.limits import DEFAULT_LIMITS, Limits, LimitViolated, check
from connector.files.tape import Kind
from schemas.events import MAX_CHUNK_RECORDS, RowRange

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1_024
"""Rows that are read at once: 1,024 of the longest value a dictionary page holds is what a bomb gets as far as."""

MAX_FOOTER_BYTES = 16 << 20
"""The longest description of a file: 256 columns in some hundreds of row groups. Parsed, it takes a few times that."""

MAX_ROW_GROUPS = 20_000
"""Row groups of a file."""

MAX_FIXED_BYTES = 16
"""The longest fixed-length value that is read (a decimal): those come without a dictionary, so each row takes it."""

NARROW_BYTES = 64 << 20
"""What a batch may take at most without being counted first."""

READ_BYTES = 256 << 10
"""What is held of the stored bytes of each column while it is read."""

_TAIL_BYTES = 8
_REPEATED_GROUPS = frozenset({"list", "array", "bag", "map", "key_value"})
_UNREADABLE = "\1"
"""Prefix of a column that tells which cells of another one are not to be read; no place is called so."""


class Seekable(Protocol):
    """A file that is open for reading."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Moves the position of the next read; returns it."""
        ...

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...


class UnreadableParquet(Exception):
    """Raised where a file is no Parquet file we can read. `reason` is a slug; the text never quotes the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(_TEXTS[reason])
        self.reason = reason


_TEXTS = {
    "not_parquet": "the file does not end like a Parquet file: it was cut off, or is something else",
    "damaged": "the Parquet file is damaged",
    "encrypted": "the Parquet file is encrypted",
    "ambiguous": "the Parquet file has two columns of the same name",
    "no_such_rows": "the Parquet file has fewer rows or row groups than were planned",
}


@dataclass(frozen=True)
class RowChunk:
    """Up to 10,000 rows of one row group; `first_record` counts from 1 within the file."""

    range: RowRange
    first_record: int
    records: int


@dataclass(frozen=True)
class Footer:
    """What a file says it holds.

    Attributes:
        row_groups: The rows of each row group.
        leaves: Every column that holds values, by its path.
        unusable: Those of them that hold no single text or number: lists, maps, bytes of a fixed length.
    """

    row_groups: tuple[int, ...]
    leaves: tuple[Path, ...]
    unusable: frozenset[Path]

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.row_groups)

    def found(self, reading: Reading) -> tuple[Path, ...]:
        """Which of the places that *reading* looks at exist, in its order; a struct around one does not count."""
        return tuple(path for path in reading.paths if any(leaf[: len(path)] == path for leaf in self.leaves))

    def columns(self, reading: Reading) -> tuple[str, ...]:
        """The columns to read: what stands at a place, within it, or where a struct around it should be."""
        return tuple(".".join(leaf) for leaf in self._concerned(reading) if leaf not in self.unusable)

    def unreadable(self, reading: Reading) -> tuple[Path, ...]:
        """The places of *reading* that hold something that is never read, in any row."""
        concerned = [leaf for leaf in self._concerned(reading) if leaf in self.unusable]
        return tuple(path for path in reading.paths if any(_is_within(leaf, path) for leaf in concerned))

    def _concerned(self, reading: Reading) -> tuple[Path, ...]:
        return tuple(leaf for leaf in self.leaves if any(_is_within(leaf, path) for path in reading.paths))


def _is_within(leaf: Path, path: Path) -> bool:
    shorter = min(len(leaf), len(path))
    return leaf[:shorter] == path[:shorter]


def read_footer(file: Seekable, limits: Limits = DEFAULT_LIMITS) -> Footer:
    """Reads what the file says it holds, against the limits.

    Raises:
        UnreadableParquet: It is not Parquet, damaged, or encrypted.
        LimitViolated: It has more columns, rows or row groups than a file may have, or a longer footer.
    """
    with _refusing():
        _check_tail(file)
        return _footer(_opened(file).metadata, limits)


def refusal(footer: Footer, reading: Reading) -> Refusal | None:
    """Why the file is not for *reading*: it has none of the places, so that nobody in it has an identifier."""
    if footer.found(reading):
        return None
    names = ", ".join(reading.headers[:10]) + (", …" if len(reading.headers) > 10 else "")
    return Refusal(
        "no_known_column",
        f"the file has none of the columns that are read: {names}",
        "check the layout or the mapping of the delivery against the columns of the file",
    )


def row_ranges(row_groups: Iterable[int], max_records: int = MAX_CHUNK_RECORDS) -> Iterator[RowChunk]:
    """The chunks of a file whose row groups have so many rows, in order. Each row is in exactly one of them."""
    record = 1
    for number, rows in enumerate(row_groups):
        for start in range(0, rows, max_records):
            end = min(start + max_records, rows)
            yield RowChunk(RowRange(row_group=number, start=start, end=end), record, end - start)
            record += end - start


def batches(
    file: Seekable, row_group: int, reading: Reading, limits: Limits = DEFAULT_LIMITS
) -> Iterator["pa.RecordBatch"]:
    """The rows of a row group in order, what *reading* looks at and nothing else, as `frame_records` takes them.

    Raises:
        UnreadableParquet: It cannot be read.
        LimitViolated: It is more than a row group may be; nothing of the excess was handed out.
    """
    with _refusing():
        _check_tail(file)
        opened = _opened(file)
        footer = _footer(opened.metadata, limits)
        if row_group >= len(footer.row_groups):
            raise UnreadableParquet("no_such_rows")
        columns = list(footer.columns(reading))
        if len(set(columns)) < len(columns):
            raise UnreadableParquet("ambiguous")
        unreadable = footer.unreadable(reading)
        if not _is_narrow(file, opened.metadata, row_group, columns):
            opened = _opened(file, metadata=opened.metadata, read_dictionary=columns)
        rows = opened.iter_batches(BATCH_ROWS, row_groups=[row_group], columns=columns, use_threads=False)
        decoded = 0
        for batch in rows:
            decoded += _written_out(batch)
            check("row_group_bytes", limits.row_group, decoded)
            yield _plain(batch, reading, unreadable)


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
        if _marker(path) in frame.columns:
            name = column_of(path)
            known = wrong.get(name, pl.Series(dtype=pl.UInt32))
            marked = frame[_marker(path)].fill_null(value=False).arg_true()
            wrong[name] = pl.concat([known.cast(pl.UInt32), marked.cast(pl.UInt32)]).unique().sort()
    return Records(records.count, records.frame, wrong=wrong)


def _part(batch: "pa.RecordBatch", start: int, end: int) -> "pa.RecordBatch":
    return batch.slice(start, end - start)


ROWS: "Kind[pa.RecordBatch]" = Kind(lambda batch: batch.num_rows, _part, lambda batch: int(batch.nbytes))
"""How `batches` are measured: in rows. Parts of one share its memory."""


def _opened(file: Seekable, **options: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    # Arrow's own allocator keeps what each of several threads has freed: some 30 MiB more, measured.
    pa.set_memory_pool(pa.system_memory_pool())
    return ParquetFile(
        file,
        buffer_size=READ_BYTES,
        pre_buffer=False,
        thrift_string_size_limit=MAX_FOOTER_BYTES,
        thrift_container_size_limit=MAX_FOOTER_BYTES,
        **options,
    )


def _is_narrow(file: Seekable, metadata: Any, row_group: int, columns: list[str]) -> bool:
    """Whether a batch stays small even where each of its rows holds the longest values of the columns' dictionaries.

    What stands in no dictionary takes its bytes in the file. Reading dictionaries as such is safe whatever they hold,
    but costs five times as much where most values differ: Arrow then builds one of every value of the row group.
    """
    opened = _opened(file, metadata=metadata, read_dictionary=columns)
    first = next(opened.iter_batches(1, row_groups=[row_group], columns=columns, use_threads=False), None)
    return first is None or sum(map(_longest, first.columns)) * BATCH_ROWS <= NARROW_BYTES


def _longest(column: "pa.Array") -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if isinstance(column, pa.StructArray):
        return sum(map(_longest, (column.field(number) for number in range(column.type.num_fields))))
    if isinstance(column, pa.DictionaryArray):
        return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return MAX_FIXED_BYTES


def _check_tail(file: Seekable) -> None:
    """Looks at the end of the file before anybody parses it: its last bytes are the footer's length and a magic."""
    size = file.seek(0, 2)
    if size < _TAIL_BYTES:
        raise UnreadableParquet("not_parquet")
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    if tail[4:] == b"PARE":
        raise UnreadableParquet("encrypted")
    if tail[4:] != b"PAR1":
        raise UnreadableParquet("not_parquet")
    check("parquet_footer_bytes", MAX_FOOTER_BYTES, int.from_bytes(tail[:4], "little"))
    file.seek(0)


def _footer(metadata: Any, limits: Limits) -> Footer:
    check("columns", limits.columns, metadata.num_columns)
    check("rows", limits.rows, metadata.num_rows)
    check("row_groups", MAX_ROW_GROUPS, metadata.num_row_groups)
    counts = tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
    if any(count < 0 for count in counts) or sum(counts) != metadata.num_rows:
        raise UnreadableParquet("damaged")
    leaves, unusable = [], set()
    for number in range(metadata.num_columns):
        column = metadata.schema.column(number)
        leaf = tuple(column.path.split("."))
        if column.max_repetition_level > 0:
            leaf = _list_of(leaf)
            if leaf in unusable:
                continue
            unusable.add(leaf)
        elif column.physical_type == "FIXED_LEN_BYTE_ARRAY" and column.length > MAX_FIXED_BYTES:
            unusable.add(leaf)
        leaves.append(leaf)
    return Footer(counts, tuple(leaves), frozenset(unusable))


def _list_of(leaf: Path) -> Path:
    """The list or map that a repeated column is within: everything before the groups that writers put into one."""
    inner = next((at for at in range(1, len(leaf)) if leaf[at] in _REPEATED_GROUPS), len(leaf))
    return leaf[:inner]


def _written_out(batch: "pa.RecordBatch") -> int:
    """What the batch takes once nothing in it is a dictionary."""
    return sum(_bytes_of(column) for column in batch.columns)


def _bytes_of(column: "pa.Array") -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if isinstance(column, pa.StructArray):
        return sum(_bytes_of(inner) for inner in column.flatten())
    if not isinstance(column, pa.DictionaryArray):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return 4 * len(column) + (pc.sum(lengths.take(column.indices)).as_py() or 0)


def _plain(batch: "pa.RecordBatch", reading: Reading, unreadable: Iterable[Path]) -> "pa.RecordBatch":
    """The batch without dictionaries, each text valid, beside it which cells are not to be read."""
    import pyarrow as pa  # noqa: PLC0415

    columns: dict[str, pa.Array] = {}
    marks: dict[str, pa.Array] = {_marker(path): pa.repeat(pa.scalar(value=True), len(batch)) for path in unreadable}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        columns[name] = _without_dictionaries(column, (name,), reading, marks)
    if not columns and not marks:
        # Arrow forgets how many rows there are when there is no column.
        columns[_UNREADABLE] = pa.nulls(batch.num_rows)
    return pa.RecordBatch.from_pydict(columns | marks)


def _without_dictionaries(column: "pa.Array", path: Path, reading: Reading, marks: dict[str, "pa.Array"]) -> "pa.Array":
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(column, pa.StructArray):
        if path in reading.paths:
            return _presence(column)
        names = [field.name for field in column.type]
        inner = [
            _without_dictionaries(part, (*path, name), reading, marks)
            for name, part in zip(names, column.flatten(), strict=True)
        ]
        return pa.StructArray.from_arrays(inner, names=names, mask=column.is_null())
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary.take(column.indices)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _valid_text(column, path, marks)
    return column if _is_known(column.type) else _presence(column)


def _presence(column: "pa.Array") -> "pa.Array":
    """True where there is a value, whatever it is: never text, so that it is a cell of the wrong type."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    return pc.if_else(column.is_valid(), pa.scalar(value=True), pa.scalar(None, pa.bool_()))


def _valid_text(column: "pa.Array", path: Path, marks: dict[str, "pa.Array"]) -> "pa.Array":
    """The column, without the cells that are not UTF-8: Parquet promises that they are, and nobody checks."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raw = column.cast(pa.binary() if pa.types.is_string(column.type) else pa.large_binary()).to_pylist()
        texts = [None if value is None else _decoded(value) for value in raw]
        marks[_marker(path)] = pa.array(
            [value is not None and text is None for value, text in zip(raw, texts, strict=True)]
        )
        return pa.array(texts, type=pa.string())
    return column


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _is_known(kind: Any) -> bool:
    """Whether a value of this type may be read as text; of any other it is only told that there is one."""
    import pyarrow as pa  # noqa: PLC0415

    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_float32(kind)
        or types.is_float64(kind)
        or types.is_decimal(kind)
        or types.is_date(kind)
        or types.is_timestamp(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
    )


def _marker(path: Path) -> str:
    return _UNREADABLE + column_of(path)


@contextmanager
def _refusing() -> Iterator[None]:
    """Arrow's errors as ours. Its texts quote what they met, so they go nowhere."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        yield
    except (UnreadableParquet, LimitViolated):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UnreadableParquet("encrypted" if "ncrypt" in str(error) else "damaged") from None
