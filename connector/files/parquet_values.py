"""The values of a batch of Arrow's as they are handed out: no dictionaries, valid text, what is no text told. Pure.

Dictionaries repeat nothing, so that a billion times a megabyte takes a megabyte; what a batch comes to without them is
counted before it is written out.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from connector.audience.layouts import Path, Reading, column_of

if TYPE_CHECKING:
    import pyarrow as pa

UNREADABLE = "\1"
"""Prefix of a column that tells which cells of another one are not to be read; no place is called so."""


def written_out(batch: "pa.RecordBatch") -> int:
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


def plain(batch: "pa.RecordBatch", reading: Reading, unreadable: Iterable[Path]) -> "pa.RecordBatch":
    """The batch without dictionaries, each text valid, beside it which cells are not to be read."""
    import pyarrow as pa  # noqa: PLC0415

    columns: dict[str, pa.Array] = {}
    marks: dict[str, pa.Array] = {marker(path): pa.repeat(pa.scalar(value=True), len(batch)) for path in unreadable}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        columns[name] = _without_dictionaries(column, (name,), reading, marks)
    if not columns and not marks:
        # Arrow forgets how many rows there are when there is no column.
        columns[UNREADABLE] = pa.nulls(batch.num_rows)
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
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
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
        marks[marker(path)] = pa.array(
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


def marker(path: Path) -> str:
    """The name of the column that tells which cells at *path* are not to be read."""
    return UNREADABLE + column_of(path)
