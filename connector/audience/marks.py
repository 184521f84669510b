"""A number for each row that is sent, by which a row that Meta shows is found again when its body is long gone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Self

import orjson
import polars as pl

from connector.audience.encoding import JSON_VALUES

MAX_SAMPLES = 1_000
"""Samples looked at in one answer. Meta documents at most 100; an answer is not trusted to keep to that."""


class RowMarks:
    """The marks of rows with these *keys*, eight bytes each; one kind of row, one mark.

    Polars hashes the cells where they lie, without the interpreter: finding the rows in a body's text took twelve times
    as long, and all other threads stood still meanwhile.
    """

    def __init__(self, keys: Sequence[str], marks: pl.Series) -> None:
        self._keys = tuple(keys)
        self._marks = marks

    @classmethod
    def of(cls, cells: pl.DataFrame) -> Self:
        """The marks of rows of normalised cells, as they are encoded; a missing one is null."""
        written = [_rewritten(column) for column in cells if column.name in JSON_VALUES]
        return cls(cells.columns, cells.with_columns(written).hash_rows())

    def part(self, start: int, end: int) -> "RowMarks":
        """Those of some of the rows, which may be sent with fewer keys."""
        return RowMarks(self._keys, self._marks[start:end])

    def matching(self, samples: Iterable[str], schema: Sequence[str]) -> set[int]:
        """The rows that any of *samples* shows, sent under *schema*. What is no row of these matches none."""
        rows = [[row.get(key) for key in self._keys] for row in _readable(samples, schema)]
        if not rows:
            return set()
        shown = pl.DataFrame(rows, schema=dict.fromkeys(self._keys, pl.String), orient="row").hash_rows()
        return set(self._marks.is_in(shown.implode()).arg_true().to_list())


def _rewritten(column: pl.Series) -> pl.Series:
    texts = [None if text is None else _canonical(orjson.loads(text)) for text in column]
    return pl.Series(column.name, texts, pl.String)


def _readable(samples: Iterable[str], schema: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """The filled cells of samples by key: they are JSON text, however it is spaced and escaped."""
    for sample in islice(samples, MAX_SAMPLES):
        try:
            cells = orjson.loads(sample)
        except orjson.JSONDecodeError:
            continue
        if not isinstance(cells, list) or len(cells) != len(schema):
            continue
        row = {key: _text(key, cell) for key, cell in zip(schema, cells, strict=True) if cell != ""}
        if all(isinstance(text, str) for text in row.values()):
            yield row


def _text(key: str, cell: Any) -> Any:
    return _canonical(cell) if key in JSON_VALUES else cell


def _canonical(value: Any) -> str | None:
    """One way to write a value: `12.0` and `12` are the same. None for what is no value of ours."""
    plain = int(value) if isinstance(value, float) and value.is_integer() else value
    try:
        return orjson.dumps(plain).decode()
    except TypeError:
        # A number beyond 64 bits: no row of ours has one.
        return None
