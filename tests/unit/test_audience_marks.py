"""The way back from a sample to its rows, over any rows and any schema they are sent under."""

from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.keys import Key
from connector.audience.marks import MAX_SAMPLES, RowMarks

KEYS = (Key.EMAIL.value, Key.EXTERN_ID.value, Key.LOOKALIKE_VALUE.value)

texts = st.none() | st.text(min_size=1, max_size=4)
values = st.none() | st.integers(0, 9).map(str) | st.sampled_from(["1.5", "2.0", "10.0"])
rows = st.tuples(texts, texts, values)


def as_sent(row: tuple[str | None, ...], schema: tuple[str, ...]) -> list[Any]:
    """The row's cells as they leave under *schema*."""
    cells = dict(zip(KEYS, row, strict=True))
    return [
        "" if (text := cells[key]) is None else orjson.loads(text) if key == Key.LOOKALIKE_VALUE else text
        for key in schema
    ]


def marks_of(table: list[tuple[str | None, ...]]) -> RowMarks:
    return RowMarks.of(pl.DataFrame(table, schema=dict.fromkeys(KEYS, pl.String), orient="row"))


@given(table=st.lists(rows, min_size=1, max_size=12), start=st.integers(0, 11), shown=st.integers(0, 11))
def test_a_sample_shows_the_rows_that_are_sent_alike(
    table: list[tuple[str | None, ...]], start: int, shown: int
) -> None:
    """Of a part of the rows, sent with only the keys it needs: those that a plain comparison finds."""
    part = table[start % len(table) :]
    filled = (key for place, key in enumerate(KEYS) if any(row[place] is not None for row in part))
    schema = tuple(filled)
    sent = [as_sent(row, schema) for row in part]
    sample = sent[shown % len(part)]

    found = marks_of(table).part(start % len(table), len(table)).matching([orjson.dumps(sample).decode()], schema)

    assert {number for number, row in enumerate(sent) if row == sample} == found


@pytest.mark.parametrize("sample", ['["a","b"]', '["a","b",1,2]', '["a",1,1]', '["a","b",1e400]', "[[],{},null]"])
def test_other_shapes_show_no_row(sample: str) -> None:
    """Too few cells, too many, or of a kind that we do not send."""
    assert set() == marks_of([("a", "b", "1")]).matching([sample], KEYS)


def test_an_answer_is_looked_at_so_far_only() -> None:
    """Whatever an answer holds, what it costs is bounded."""
    nobody = ['["x","y",1]'] * MAX_SAMPLES
    assert set() == marks_of([("a", "b", "1")]).matching([*nobody, '["a","b",1]'], KEYS)
    assert {0} == marks_of([("a", "b", "1")]).matching([*nobody[1:], '["a","b",1]'], KEYS)
