"""Rows that leave: the body of a `users` call, and the way back from Meta's samples to the rows.

Source: Meta's reference of the `users` edge (`schema` and `data`, missing cells as ""; `app_ids` with UID and APPUID,
`page_ids` with PAGEUID). A batch's schema holds only keys with a value in it (observed in recorded traffic; it may
change between calls that add or remove).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import polars as pl

from connector.audience.encoding import Body, encoded
from connector.audience.keys import Key
from connector.audience.marks import RowMarks
from connector.audience.records import LINE, RECORD

MAX_ROWS = 10_000
"""Rows in one call. Source: Meta's custom audience guide."""

MAX_BYTES = 32 << 20
"""Bytes of one body. Meta documents no limit; with every key hashed, 10,000 rows are about 15 MB."""

ALL_OR_NONE = (Key.EXTERN_ID, Key.LOOKALIKE_VALUE)
"""Keys that every row of a call carries, or none: an empty one makes Meta refuse the row (recorded for EXTERN_ID)."""


@dataclass(frozen=True)
class Scope:
    """What ids are valid in: the apps of UID and APPUID, the pages of PAGEUID."""

    app_ids: tuple[str, ...] = ()
    page_ids: tuple[str, ...] = ()

    def of(self, schema: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The members a payload with *schema* has besides schema and data."""
        given: dict[str, tuple[str, ...]] = {}
        if self.app_ids and not {Key.UID, Key.APPUID}.isdisjoint(schema):
            given["app_ids"] = self.app_ids
        if self.page_ids and Key.PAGEUID in schema:
            given["page_ids"] = self.page_ids
        return given


class Batch:
    """Rows in the order of their records, each with the number of the record and line it came from.

    It holds the body and three numbers a row, nothing else: many batches are in flight at once. The third tells which
    row a sample shows. It shows counts only, never a cell: not in its text form and not in an error.
    """

    def __init__(
        self,
        schema: tuple[str, ...],
        body: Body,
        numbers: pl.DataFrame,
        marks: RowMarks,
        scope: Scope,
        *,
        fixed: bool = False,
    ) -> None:
        self._body: Body | None = body
        self._numbers = numbers
        self._marks = marks
        self._scope = scope
        self._fixed = fixed
        self.schema = schema

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return f"Batch(rows={self.rows}, records={self.records}, schema={self.schema})"

    @property
    def rows(self) -> int:
        """How many rows it sends."""
        return self._numbers.height

    @cached_property
    def records(self) -> int:
        """How many records they came from."""
        return self._numbers[RECORD].n_unique()

    def record_of(self, row: int) -> int:
        """The number, within the file, of the record a row came from."""
        return int(self._numbers[RECORD][row])

    def line_of(self, row: int) -> int:
        """The number, within the file, of the line a row came from."""
        return int(self._numbers[LINE][row])

    def rows_of(self, records: Iterable[int]) -> dict[int, int]:
        """How many rows each of *records* has here; those without one are left out."""
        wanted = self._numbers.filter(pl.col(RECORD).is_in(list(records)))
        return dict(wanted.group_by(RECORD).len().iter_rows())

    def body(self) -> Body:
        """The compact JSON `{"schema":[...],"data":[[...],...]}`, with `app_ids` or `page_ids` where they belong."""
        if self._body is None:
            raise RuntimeError("the body was given away")
        return self._body

    def give_body(self) -> Body:
        """The body, which is kept no longer: it cannot be given twice, nor divided any more."""
        body = self.body()
        self._body = None
        return body

    def payload(self) -> bytes:
        """The body in one piece, for who reads it."""
        return b"".join(self.body())

    def halves(self) -> tuple["Batch", "Batch"]:
        """Two batches of about the same size, to find the row that Meta refuses a whole batch for.

        Raises:
            ValueError: There is only one row.
        """
        if self.rows < 2:
            raise ValueError(f"a batch of {self.rows} rows has no halves")
        middle = cut(self._numbers[RECORD].to_list(), 0, (self.rows + 1) // 2)
        return self._slice(0, middle), self._slice(middle, self.rows)

    def row_json(self, row: int) -> str:
        """The compact JSON of a row as it is sent, as Meta repeats it in `invalid_entry_samples`."""
        return orjson.dumps(self._data()[row]).decode()

    def rows_matching(self, samples: Iterable[str]) -> set[int]:
        """The rows that any of *samples* shows. A sample that is no row of this batch matches none."""
        return self._marks.matching(samples, self.schema)

    def _data(self) -> list[list[Any]]:
        """The rows, read back from the body: rarely asked for, so not kept."""
        data: list[list[Any]] = orjson.loads(self.payload())["data"]
        return data

    def _slice(self, start: int, end: int) -> "Batch":
        """Some of the rows, with the schema that these need."""
        rows = self._data()[start:end]
        all_places = range(len(self.schema))
        places = [place for place in all_places if self._fixed or any(row[place] != "" for row in rows)]
        schema = tuple(self.schema[place] for place in places)
        head, tail = _around(schema, self._scope)
        body = head, orjson.dumps([[row[place] for place in places] for row in rows]), tail
        marks = self._marks.part(start, end)
        return Batch(schema, body, self._numbers[start:end], marks, self._scope, fixed=self._fixed)


def batches_of(
    cells: pl.DataFrame,
    scope: Scope,
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    schema: tuple[str, ...] | None = None,
) -> tuple[Batch, ...]:
    """Batches of rows with `RECORD`, `LINE` and a column per key, within both limits.

    The rows of one record stay together where the limits and `ALL_OR_NONE` allow it. With a *schema* every batch names
    exactly its keys, and what rows hold of others is left out.
    """
    if max_rows < 1:
        raise ValueError(f"a batch of {max_rows} rows cannot be sent")
    if schema is not None:
        missing = [pl.lit(None, pl.String).alias(key) for key in schema if key not in cells.columns]
        cells = cells.with_columns(missing).select(RECORD, LINE, *schema)
    return tuple(
        batch
        for alike in _alike(cells)
        for piece in _pieces(alike, max_rows)
        for batch in _encoded(piece, scope, max_bytes, schema)
    )


def _alike(cells: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows parted so that each part carries each key of `ALL_OR_NONE` in every row or in none."""
    for key in ALL_OR_NONE:
        if key in cells.columns and 0 < cells[key].null_count() < cells.height:
            there = cells[key].is_not_null()
            yield from _alike(cells.filter(there))
            yield from _alike(cells.filter(~there))
            return
    yield cells


def _pieces(cells: pl.DataFrame, max_rows: int) -> Iterator[pl.DataFrame]:
    if cells.height <= max_rows:
        if cells.height:
            yield cells
        return
    records = cells[RECORD].to_list()
    start = 0
    while start < cells.height:
        end = cut(records, start, min(start + max_rows, cells.height))
        yield cells[start:end]
        start = end


def _encoded(cells: pl.DataFrame, scope: Scope, max_bytes: int, fixed: tuple[str, ...] | None) -> Iterator[Batch]:
    filled = (key.value for key in Key if key in cells.columns and cells[key].null_count() < cells.height)
    schema = tuple(filled) if fixed is None else fixed
    head, tail = _around(schema, scope)
    body = encoded(head, cells.select(schema), tail)
    if sum(map(len, body)) <= max_bytes or cells.height < 2:
        marks = RowMarks.of(cells.select(schema))
        yield Batch(schema, body, cells.select(RECORD, LINE), marks, scope, fixed=fixed is not None)
        return
    del body
    middle = cut(cells[RECORD].to_list(), 0, (cells.height + 1) // 2)
    yield from _encoded(cells[:middle], scope, max_bytes, fixed)
    yield from _encoded(cells[middle:], scope, max_bytes, fixed)


def _around(schema: tuple[str, ...], scope: Scope) -> tuple[bytes, bytes]:
    """What stands before and after the rows in a body."""
    given = b"".join(b',"%s":%s' % (name.encode(), orjson.dumps(ids)) for name, ids in scope.of(schema).items())
    return b'{"schema":' + orjson.dumps(schema) + b',"data":', given + b"}"


def cut(records: Sequence[int], start: int, end: int) -> int:
    """The last place at or before *end* where a record ends; *end* itself when there is none after *start*."""
    place = end
    while start < place < len(records) and records[place - 1] == records[place]:
        place -= 1
    return place if place > start else end
