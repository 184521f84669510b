"""Rows of Parquet files: what their types mean for the keys."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.audience.keys import DOB, Key, Mode
from connector.audience.layouts import Reading, column_of, reading_of
from connector.audience.prepare import prepare
from connector.audience.records import LINE, RECORD
from connector.audience.records_ndjson import read_ndjson
from connector.audience.records_parquet import parquet_records, top_columns
from schemas.events import Layout
from schemas.match_keys import ColumnMapping, MappedColumn


def reading(**keys: Any) -> Reading:
    columns = {name.replace("__", "."): MappedColumn(key=key, mode=Mode.RAW) for name, key in keys.items()}
    return reading_of(Layout.COLUMNS, ColumnMapping(columns=columns))


def cells(values: list[Any], key: Any, dtype: Any = None) -> tuple[list[str | None], list[int]]:
    """The texts of a column `x` that holds *key*, and the rows that are of the wrong type."""
    records = parquet_records(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), reading(x=key), first_record=1)
    return records.frame["/x"].to_list(), list(records.wrong.get("/x", []))


class TestTypes:
    @pytest.mark.parametrize(
        ("values", "dtype", "key", "texts", "wrong"),
        [
            (["a", None], pl.String, Key.EMAIL, ["a", None], []),
            (["a", "a"], pl.Categorical, Key.CT, ["a", "a"], []),
            ([16505551212, None], pl.Int64, Key.PHONE, ["16505551212", None], []),
            ([1990.0, 1990.5, float("nan")], pl.Float64, Key.DOBY, ["1990", None, None], [1]),
            ([2.0**53, float("inf")], pl.Float64, Key.UID, [None, None], [0, 1]),
            ([12.5, 3.0], pl.Float64, Key.LOOKALIKE_VALUE, ["12.5", "3"], []),
            ([94035], pl.Int32, Key.ZIP, [None], [0]),
            ([True, None], pl.Boolean, Key.PHONE, [None, None], [0]),
            ([date(1990, 5, 17)], pl.Date, DOB, ["1990-05-17"], []),
            ([datetime(1990, 5, 17, 23, 30, tzinfo=UTC)], pl.Datetime("us", "UTC"), DOB, ["1990-05-17"], []),
            ([date(1990, 5, 17)], pl.Date, Key.FN, [None], [0]),
            ([b"a"], pl.Binary, Key.FN, [None], [0]),
            ([None, None], pl.Null, Key.FN, [None, None], []),
            ([["LDU"], []], pl.List(pl.String), Key.DATA_PROCESSING_OPTIONS, ['["LDU"]', "[]"], []),
            ([["a"]], pl.List(pl.String), Key.EXTERN_ID, [None], [0]),
        ],
    )
    def test_of_a_column(
        self, values: list[Any], dtype: Any, key: Any, texts: list[str | None], wrong: list[int]
    ) -> None:
        """Text, whole numbers where a key takes them, and calendar dates are read, nothing else."""
        assert (texts, wrong) == cells(values, key, dtype)

    def test_structs(self) -> None:
        """A path leads through structs; what is none on the way is of the wrong type, what is missing is empty."""
        frame = pl.DataFrame({"o": [{"a": "x", "b": 5}, None], "p": ["text", None]})
        wanted = reading(o__a=Key.FN, o__c=Key.LN, p__a=Key.CT, q=Key.EMAIL)
        records = parquet_records(frame, wanted, first_record=11)
        assert [(11, 11, "x", None, None, None), (12, 12, None, None, None, None)] == records.frame.select(
            RECORD, LINE, *(column_of(path) for path in wanted.paths)
        ).rows()
        assert {"/p/a": [0]} == {name: list(rows) for name, rows in records.wrong.items()}
        assert ("o", "p", "q") == top_columns(wanted)


KEYS = {"mail": Key.EMAIL, "phone": Key.PHONE, "year": Key.DOBY, "zip": Key.ZIP, "id": Key.EXTERN_ID, "born": DOB}
texts = st.sampled_from(["ann@example.com", "+16505551212", "1990", "94035", "1990-05-17", "NULL", "", "a" * 64, "é"])


class TestEqualToNdjson:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.fixed_dictionaries(dict.fromkeys(KEYS, st.none() | texts)), max_size=6), st.booleans())
    def test_the_same_people(self, people: list[dict[str, str | None]], numbers: bool) -> None:  # noqa: FBT001
        """The same people, with years as text or as numbers, leave the same way in both formats."""
        wanted = reading(**KEYS)
        for person in people if numbers else ():
            person["year"] = 1990  # type: ignore[assignment]
        schema = dict.fromkeys(KEYS, pl.String()) | ({"year": pl.Int64()} if numbers else {})
        block = pl.DataFrame(people, schema=schema).write_ndjson().encode()
        frame = pl.DataFrame(people, schema=schema)
        both = [
            prepare(records, wanted, detailed=True)
            for records in (
                parquet_records(frame, wanted, first_record=1),
                read_ndjson(block, wanted, first_record=1, first_line=1),
            )
        ]
        ours, theirs = ([*told(prepared)] for prepared in both)
        assert ours == theirs


def told(prepared: Any) -> Iterator[Any]:
    yield from (batch.payload() for batch in prepared.batches)
    yield prepared.rejects
    yield prepared.refused_cells
    yield prepared.columns
