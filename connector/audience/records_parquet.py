"""Rows of a Parquet file to records: typed columns, structs within them, to the text columns of a `Records`.

A whole number is read as text where its key takes numbers, a date or a timestamp as the calendar date it is stored as,
whatever the reader's time zone. NaN is nothing: tables that know no missing number write it.
"""

from collections.abc import Iterable

import orjson
import polars as pl

from connector.audience.keys import DOB, Key
from connector.audience.layouts import TAKES_FRACTIONS, TAKES_NUMBERS, Path, Reading, column_of
from connector.audience.records import LINE, RECORD, Records
from connector.audience.values import MAX_EXACT


def parquet_records(frame: pl.DataFrame, reading: Reading, *, first_record: int) -> Records:
    """The records of rows as they are in the file: its columns, or those of them that the reading names.

    Args:
        frame: Columns called as in the file, nested structs kept; a column that is missing there is empty.
        reading: What is read.
        first_record: Number of the first row within the file, from 1; lines are counted alike.
    """
    numbers = pl.int_range(first_record, first_record + frame.height, dtype=pl.Int64, eager=True)
    columns = [numbers.alias(RECORD), numbers.alias(LINE)]
    wrong: dict[str, pl.Series] = {}
    for path in reading.paths:
        name = column_of(path)
        text, is_wrong = _text_at(frame, path, reading.targets(path))
        columns.append(text.alias(name))
        if is_wrong.any():
            wrong[name] = is_wrong.arg_true()
    return Records(count=frame.height, frame=pl.DataFrame(columns), wrong=wrong)


def top_columns(reading: Reading) -> tuple[str, ...]:
    """The columns of a Parquet file that are read at all."""
    return tuple(dict.fromkeys(path[0] for path in reading.paths))


def _text_at(frame: pl.DataFrame, path: Path, targets: Iterable[str]) -> tuple[pl.Series, pl.Series]:
    """The text of each cell, null where there is none, and which cells are of the wrong type."""
    if path[0] not in frame.columns:
        return _nothing(frame.height), _none_wrong(frame.height)
    series = frame[path[0]]
    for step in path[1:]:
        if not isinstance(series.dtype, pl.Struct):
            return _nothing(len(series)), series.is_not_null()
        if step not in (inner.name for inner in series.dtype.fields):
            return _nothing(len(series)), _none_wrong(len(series))
        series = series.struct.field(step)
    return _text(series, frozenset(targets))


def _text(series: pl.Series, targets: frozenset[str]) -> tuple[pl.Series, pl.Series]:
    dtype = series.dtype
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        return series.cast(pl.String), _none_wrong(len(series))
    if isinstance(dtype, pl.Date | pl.Datetime) and targets == {DOB}:
        # The wall clock's date: a timestamp's zone only says how the instant was shown.
        return series.dt.to_string("%Y-%m-%d"), _none_wrong(len(series))
    if dtype.is_numeric() and targets and targets <= TAKES_NUMBERS:
        return _number_text(series, fractions=targets <= TAKES_FRACTIONS)
    if dtype == pl.List(pl.String) and targets == {Key.DATA_PROCESSING_OPTIONS}:
        texts = [None if options is None else orjson.dumps(options.to_list()).decode() for options in series]
        return pl.Series(texts, dtype=pl.String), _none_wrong(len(series))
    return _nothing(len(series)), series.is_not_null()


def _number_text(series: pl.Series, *, fractions: bool) -> tuple[pl.Series, pl.Series]:
    if series.dtype.is_integer():
        return series.cast(pl.String), _none_wrong(len(series))
    numbers = series.cast(pl.Float64).fill_nan(None)
    whole = numbers.is_finite() & (numbers == numbers.floor()) & (numbers.abs() < MAX_EXACT)
    text = pl.select(pl.when(whole).then(numbers.cast(pl.Int64, strict=False).cast(pl.String))).to_series()
    if fractions:
        others = (numbers.is_finite() & ~whole).fill_null(value=False).arg_true()
        text = text.scatter(others, [repr(numbers[row]) for row in others])
    return text, text.is_null() & numbers.is_not_null()


def _nothing(height: int) -> pl.Series:
    return pl.repeat(None, height, dtype=pl.String, eager=True)


def _none_wrong(height: int) -> pl.Series:
    return pl.repeat(value=False, n=height, dtype=pl.Boolean, eager=True)
