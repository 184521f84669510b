"""A block of records as text columns: the shape every format is brought into, and how far a record is from it.

The frame of a `Records` has `RECORD`, `LINE` and one text column per place the reading looks at, named by
`layouts.column_of`; null where there is nothing. NDJSON is read here (`read_ndjson`), the lines of a table and the rows
of a Parquet file elsewhere: `table_records` and `parquet_records` bring them into this shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import polars as pl

from connector.audience.layouts import Path, Reading, column_of
from connector.audience.reasons import RowReason
from connector.audience.values import NotAnObject, text_of, value_at

MAX_DEPTH = 16
"""Objects and lists within each other, the record itself counted."""

RECORD, LINE = "record", "line"
"""Columns of every frame here: number of the record and of its line within the file, both from 1."""


@dataclass(frozen=True)
class Line:
    """A record by number, as it was read."""

    record: int
    line: int
    value: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RowReject:
    """A record that does not leave."""

    record: int
    line: int
    reason: RowReason


@dataclass(frozen=True)
class Records:
    """What a block holds: `count` records, in the frame, among the `odd` or among the rejects.

    Attributes:
        count: All records, rejected ones included; blank lines are none.
        frame: `RECORD`, `LINE` and the text columns of the reading.
        rejects: The records that cannot be read.
        odd: Records whose shape the columns cannot take: the plain rules decide them.
        wrong: By column, the rows of the frame that hold something else than text there (their cell is null).
        block: The NDJSON lines of the frame in its order and nothing else; None when the frame tells everything. The
            JSON parser writes numbers and lists out as text, so that only the line itself tells `"5"` from `5`.
        is_flat: Whether it is known that no line has an object or list inside, nor an escaped character.
    """

    count: int
    frame: pl.DataFrame = field(repr=False)
    rejects: tuple[RowReject, ...] = ()
    odd: tuple[Line, ...] = field(default=(), repr=False)
    wrong: Mapping[str, pl.Series] = field(default_factory=dict, repr=False)
    block: bytes | None = field(default=None, repr=False)
    is_flat: bool = False

    @cached_property
    def _lines(self) -> list[bytes]:
        return (self.block or b"").split(b"\n")

    def is_all_text(self, path: Path) -> bool:
        """Whether it is certain, without a look at each line, that every cell at *path* was text."""
        if self.block is None:
            return True
        if len(path) > 1 or not self.is_flat or not _is_plain_name(path[0]):
            return False
        # In flat records a member stands once, and a quote within a text is escaped: each hit is a text of that member.
        name = path[0].encode()
        hits = self.block.count(b'"%s":"' % name) or self.block.count(b'"%s": "' % name)
        filled = self.frame.height - self.frame[column_of(path)].null_count()
        return hits >= filled

    def not_text(self, path: Path, rows: pl.Series, targets: frozenset[str]) -> dict[int, str | None]:
        """Of *rows* of the frame those that hold no text at *path*, with what to read instead.

        That is the text of a number where *targets* take numbers, and None for what is of the wrong type.
        """
        found: dict[int, str | None] = {}
        for row in rows:
            value = value_at(orjson.loads(self._lines[row]), path)
            if value is None or isinstance(value, str):
                continue
            found[row] = None if value is NotAnObject else text_of(value, targets)
        return found


def table_records(frame: pl.DataFrame, reading: Reading, *, count: int, rejects: tuple[RowReject, ...] = ()) -> Records:
    """The records of CSV or TSV lines.

    Args:
        frame: `RECORD`, `LINE` and text columns called after `Reading.columns`; those the file has not may be missing.
        reading: What is read.
        count: Records of the block, the rejected ones included.
        rejects: Lines that cannot be read.
    """
    return Records(count=count, frame=_complete(frame, reading), rejects=rejects)


def _complete(frame: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    missing = [pl.lit(None, dtype=pl.String).alias(name) for name in reading.columns if name not in frame.columns]
    return frame.with_columns(missing).select(
        pl.col(RECORD).cast(pl.Int64), pl.col(LINE).cast(pl.Int64), *reading.columns
    )


def _is_plain_name(name: str) -> bool:
    """Whether JSON writes *name* in one way only."""
    return name.isascii() and name.isprintable() and not any(char in '"\\/' for char in name)
