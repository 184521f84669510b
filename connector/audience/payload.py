"""Rows that leave: the body of a `users` call, and the way back from Meta's samples to the rows.

Source: Meta's reference of the `users` edge (`schema` and `data`, missing cells as ""). A batch's schema holds
only keys with a value in it (observed in recorded traffic; it may change between calls that add or remove).
"""

import io
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice

import orjson
import polars as pl

from connector.audience.keys import Key
from connector.audience.records import LINE, RECORD

MAX_SAMPLES = 1_000
"""Samples looked at in one answer. Meta documents at most 100; an answer is not trusted to keep to that."""


class Batch:
    """Rows in the order of their records, each with the number of the record and line it came from.

    It shows counts only, never a cell: not in its text form and not in an error.
    """

    def __init__(self, frame: pl.DataFrame, schema: tuple[str, ...] | None = None) -> None:
        self._frame = frame
        self._schema = schema

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        return f"Batch(rows={self.rows}, records={self.records}, schema={self.schema})"

    @property
    def rows(self) -> int:
        """How many rows it sends."""
        return self._frame.height

    @cached_property
    def records(self) -> int:
        """How many records they came from."""
        return self._frame[RECORD].n_unique()

    @cached_property
    def schema(self) -> tuple[str, ...]:
        """The keys with a value in this batch, in Meta's order; or those it was told to name."""
        if self._schema is not None:
            return self._schema
        return tuple(key.value for key in Key if self._frame[key].null_count() < self.rows)

    def with_schema(self, schema: tuple[str, ...]) -> "Batch":
        """The same rows under exactly these keys, as are all parts of it: a replacement may not change its schema."""
        return Batch(self._frame, schema)

    def record_of(self, row: int) -> int:
        """The number, within the file, of the record a row came from."""
        return int(self._frame[RECORD][row])

    def line_of(self, row: int) -> int:
        """The number, within the file, of the line a row came from."""
        return int(self._frame[LINE][row])

    def split(self, max_rows: int) -> list["Batch"]:
        """Batches of at most *max_rows*; the rows of one record stay together unless they alone are more than that."""
        if max_rows < 1:
            raise ValueError(f"a batch of {max_rows} rows cannot be sent")
        records = self._frame[RECORD].to_list()
        batches = []
        start = 0
        while start < self.rows:
            end = _cut(records, start, min(start + max_rows, self.rows))
            batches.append(self._slice(start, end))
            start = end
        return batches

    def halves(self) -> tuple["Batch", "Batch"]:
        """Two batches of about the same size, to find the row that Meta refuses a whole batch for.

        Raises:
            ValueError: There is only one row.
        """
        if self.rows < 2:
            raise ValueError(f"a batch of {self.rows} rows has no halves")
        middle = _cut(self._frame[RECORD].to_list(), 0, (self.rows + 1) // 2)
        return self._slice(0, middle), self._slice(middle, self.rows)

    def payload(self) -> bytes:
        """The compact JSON `{"schema":[...],"data":[[...],...]}`.

        Written as CSV with JSON's separators, which is three times faster than any JSON writer here. It holds because
        no cell needs an escape in either format: all are hexadecimal digits or UUIDs by the rules that made them.
        """
        if not self.rows:
            return b'{"schema":[],"data":[]}'
        body = io.BytesIO()
        body.write(b'{"schema":' + orjson.dumps(self.schema) + b',"data":[[')
        self._frame.select(self.schema).write_csv(
            body, include_header=False, quote_style="always", line_terminator="],[", null_value=""
        )
        body.seek(-len("],["), io.SEEK_END)
        body.write(b"]]}")
        body.truncate()
        return body.getvalue()

    def row_json(self, row: int) -> str:
        """The compact JSON of a row as it is sent, as Meta repeats it in `invalid_entry_samples`."""
        return orjson.dumps([cell or "" for cell in self._frame.select(self.schema).row(row)]).decode()

    def rows_matching(self, samples: Iterable[str]) -> set[int]:
        """The rows that any of *samples* shows. A sample that is no row of this batch matches none."""
        wanted = set(_readable(samples))
        if not wanted:
            return set()
        rows = self._frame.select(self.schema).fill_null("").iter_rows()
        return {number for number, row in enumerate(rows) if row in wanted}

    def _slice(self, start: int, end: int) -> "Batch":
        return Batch(self._frame.slice(start, end - start), self._schema)


def _cut(records: list[int], start: int, end: int) -> int:
    """The last place at or before *end* where a record ends; *end* itself when there is none after *start*."""
    cut = end
    while start < cut < len(records) and records[cut - 1] == records[cut]:
        cut -= 1
    return cut if cut > start else end


def _readable(samples: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Samples as rows of cells: they are JSON text, however it is spaced and escaped."""
    for sample in islice(samples, MAX_SAMPLES):
        try:
            cells = orjson.loads(sample)
        except orjson.JSONDecodeError:
            continue
        if isinstance(cells, list) and all(isinstance(cell, str) for cell in cells):
            yield tuple(cells)
