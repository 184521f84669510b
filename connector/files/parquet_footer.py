"""What a Parquet file says it holds, what its chunks are, and which columns a reading looks at.

Pure but for the file.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from connector.audience.layouts import Path, Reading
from connector.files.formats import Refusal
from connector.files.limits import DEFAULT_LIMITS, Limits, check
from connector.files.parquet_damage import UnreadableParquet, refusing
from connector.files.parquet_opening import opened
from connector.files.parquet_pages import Chunk, Seekable
from schemas.events import MAX_CHUNK_RECORDS, RowRange

MAX_FIXED_BYTES = 16
"""The longest fixed-length value that is read (a decimal): those come without a dictionary, so each row takes it."""

_REPEATED_GROUPS = frozenset({"list", "array", "bag", "map", "key_value"})


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


def read_footer(file: Seekable, limits: Limits = DEFAULT_LIMITS, reading: Reading | None = None) -> Footer:
    """Reads what the file says it holds, against the limits; with *reading*, also how much of it would be read.

    Raises:
        UnreadableParquet: It is not Parquet, damaged, or encrypted.
        LimitViolated: It has more columns, rows or row groups than a file may have, a longer footer, or a row group
            that says itself that it is too large.
    """
    with refusing():
        arrow, chunks = opened(file)
        footer = footer_of(arrow.metadata, limits)
        if reading is not None:
            # What is known early is refused early; values that repeat, and lies, are counted when they are read.
            for row_group in chunks:
                parts = read_chunks(arrow.metadata, row_group, footer.columns(reading))
                check("row_group_bytes", limits.row_group, sum(part.size for part in parts.values()))
        return footer


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


def footer_of(metadata: Any, limits: Limits) -> Footer:
    """What Arrow's *metadata* says, against the limits; raises as `read_footer` does."""
    check("columns", limits.columns, metadata.num_columns)
    check("rows", limits.rows, metadata.num_rows)
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


def read_chunks(metadata: Any, row_group: tuple[Chunk, ...], columns: Collection[str]) -> dict[str, Chunk]:
    """Those chunks of a row group that are read for *columns*, by name; what a chunk says of its own name is not used.

    As Arrow does it, what lies within something that is called like a column is read with it.

    Raises:
        UnreadableParquet: The row group has not all columns of the file, two of one name, or an encrypted one.
    """
    if len(row_group) != metadata.num_columns:
        raise UnreadableParquet("damaged")
    paths = (metadata.schema.column(number).path for number in range(metadata.num_columns))
    within = tuple(f"{column}." for column in columns)
    found: dict[str, Chunk] = {}
    for path, chunk in zip(paths, row_group, strict=True):
        if path in columns or path.startswith(within):
            if path in found:
                raise UnreadableParquet("ambiguous")
            if chunk.is_encrypted:
                raise UnreadableParquet("encrypted")
            found[path] = chunk
    return found


def _list_of(leaf: Path) -> Path:
    """The list or map that a repeated column is within: everything before the groups that writers put into one."""
    inner = next((at for at in range(1, len(leaf)) if leaf[at] in _REPEATED_GROUPS), len(leaf))
    return leaf[:inner]
