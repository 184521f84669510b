"""Parquet: what is read of a file, what its chunks are, and what is refused before it costs anything."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.audience.layouts import reading_of
from connector.files.limits import Limits, LimitViolated
from connector.files.parquet import batches, frame_records
from connector.files.parquet_damage import UnreadableParquet
from connector.files.parquet_footer import read_footer, refusal, row_ranges
from connector.files.parquet_pages import BATCH_ROWS
from schemas.events import Layout
from schemas.match_keys import ColumnMapping

NARRATIVE = reading_of(Layout.NARRATIVE_DATASET)


def mapped(**columns: str) -> Any:
    """A reading of plain columns."""
    mapping = {name: {"key": key, "mode": "raw"} for name, key in columns.items()}
    return reading_of(Layout.COLUMNS, ColumnMapping.model_validate({"columns": mapping}))


def file_of(table: pa.Table, **options: Any) -> io.BytesIO:
    """*table* as a file."""
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    file.seek(0)
    return file


def rows_of(file: io.BytesIO, reading: Any, row_group: int = 0) -> pl.DataFrame:
    """The text columns of a row group."""
    return frame_records(batches(file, row_group, reading), reading, first_record=1).frame


class TestFooter:
    def test_nested_columns_are_found(self) -> None:
        """A struct's members are places; a column that nobody asks for is not read."""
        people = [{"value": "a", "type": "sha256_email", "note": "n"}]
        footer = read_footer(file_of(pa.table({"hashed_email": people, "birth_year": [1980], "other": ["x"]})))

        assert {("hashed_email", "value"), ("hashed_email", "type"), ("birth_year",)} == set(footer.found(NARRATIVE))
        assert {"hashed_email.value", "hashed_email.type", "birth_year"} == set(footer.columns(NARRATIVE))
        assert refusal(footer, NARRATIVE) is None

    def test_a_file_of_something_else_is_refused(self) -> None:
        """None of the mapped columns: the refusal names them, and none of the file's."""
        refused = refusal(read_footer(file_of(pa.table({"unknown": ["x"]}))), mapped(mail="EMAIL", city="CT"))

        assert refused is not None
        assert ("no_known_column", True) == (refused.code, "mail, city" in refused.message)
        assert "unknown" not in refused.message

    @pytest.mark.parametrize(
        ("limits", "name"),
        [(Limits(columns=1), "columns"), (Limits(rows=2), "rows")],
    )
    def test_limits(self, limits: Limits, name: str) -> None:
        """More columns or rows than a file may have."""
        with pytest.raises(LimitViolated) as violated:
            read_footer(file_of(pa.table({"a": ["x"] * 3, "b": ["y"] * 3})), limits)
        assert name == violated.value.name

    def test_a_footer_that_says_it_is_huge(self) -> None:
        """The length is looked at before anybody makes room for it."""
        data = file_of(pa.table({"a": ["x"]})).getvalue()
        with pytest.raises(LimitViolated):
            read_footer(io.BytesIO(data[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1"))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda data: data[: len(data) // 2], "not_parquet"),
            (lambda data: data[:-4] + b"PARE", "encrypted"),
            (lambda data: data[:-40] + b"\xff" * 32 + data[-8:], "damaged"),
            (lambda _: b"PAR1", "not_parquet"),
            (lambda _: b"", "not_parquet"),
        ],
    )
    def test_what_is_no_file_of_rows(self, change: Any, reason: str) -> None:
        """Cut off, encrypted, damaged: a reason, never Arrow's own words."""
        with pytest.raises(UnreadableParquet) as refused:
            read_footer(io.BytesIO(change(file_of(pa.table({"a": ["x"] * 100})).getvalue())))
        assert reason == refused.value.reason

    @given(st.data())
    def test_any_damage_is_refused_in_our_words(self, data: st.DataObject) -> None:
        """Whatever bytes are changed, the file reads as some rows or is refused by its own kind of error."""
        whole = bytearray(file_of(pa.table({"mail": [f"p{number}@example.com" for number in range(50)]})).getvalue())
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        reading = mapped(mail="EMAIL")
        try:
            found = frame_records(batches(io.BytesIO(bytes(whole)), 0, reading), reading, first_record=1)
        except (UnreadableParquet, LimitViolated):
            return
        assert found.count == found.frame.height

    @given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 25))
    def test_each_row_is_in_one_chunk(self, row_groups: list[int], most: int) -> None:
        """Chunks tile the row groups, in order, none of them empty or larger than asked for."""
        chunks = list(row_ranges(row_groups, most))

        rows = [(chunk.range.row_group, row) for chunk in chunks for row in range(chunk.range.start, chunk.range.end)]
        assert [(number, row) for number, count in enumerate(row_groups) for row in range(count)] == rows
        assert all(0 < chunk.records <= most for chunk in chunks)
        firsts = [1 + sum(chunk.records for chunk in chunks[:number]) for number in range(len(chunks))]
        assert firsts == [chunk.first_record for chunk in chunks]


class TestRows:
    def test_rows_of_a_row_group(self) -> None:
        """Text, numbers, dates and structs come as the text they stand for, whatever the batches."""
        count = 2 * BATCH_ROWS + 5
        table = pa.table(
            {
                "hashed_email": [{"value": f"{row:064x}", "type": "sha256_email"} for row in range(count)],
                "birth_year": list(range(1900, 1900 + count)),
                "iso_3166_1_country": [None if row % 3 else "us" for row in range(count)],
            }
        )
        frame = rows_of(file_of(table, row_group_size=count - 5), NARRATIVE)

        assert count - 5 == frame.height
        assert [f"{row:064x}" for row in range(count - 5)] == frame["/hashed_email/value"].to_list()
        assert ["1900", "1901"] == frame["/birth_year"].head(2).to_list()
        assert ["us", None] == frame["/iso_3166_1_country"].head(2).to_list()

    def test_what_is_no_text_is_wrong_and_not_read(self) -> None:
        """Lists, raw bytes and texts that are not UTF-8 are cells of the wrong type, one by one."""
        broken = pa.array([b"good@example.com", b"\xff\xfe", None]).cast(pa.string(), safe=False).view(pa.string())
        table = pa.table({"mail": broken, "name": [["a"], None, []], "city": pa.array([b"x", None, b"y"])})
        reading = mapped(mail="EMAIL", name="FN", city="CT")
        records = frame_records(batches(file_of(table), 0, reading), reading, first_record=1)

        assert ["good@example.com", None, None] == records.frame["/mail"].to_list()
        wrong = {name: rows.to_list() for name, rows in records.wrong.items()}
        assert {"/mail": [1], "/name": [0, 1, 2], "/city": [0, 2]} == wrong

    def test_a_file_without_the_columns_still_has_rows(self) -> None:
        """Nothing to read is not nothing: each row is counted."""
        reading = mapped(mail="EMAIL")
        records = frame_records(
            batches(file_of(pa.table({"other": ["x"] * 3000})), 0, reading), reading, first_record=1
        )

        assert (3000, True) == (records.count, bool(records.frame["/mail"].is_null().all()))

    def test_a_row_group_that_is_not_there(self) -> None:
        """The file is not the one that was planned."""
        with pytest.raises(UnreadableParquet):
            list(batches(file_of(pa.table({"mail": ["x"]})), 1, mapped(mail="EMAIL")))


class TestBombs:
    @pytest.mark.parametrize("nested", [False, True])
    def test_a_value_that_repeats(self, tmp_path: Path, nested: bool) -> None:  # noqa: FBT001
        """A megabyte, two million times, in a file of two: counted and refused before it is written out."""
        count = 2_000_000
        value = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["x" * (1 << 20)]))
        column = pa.StructArray.from_arrays([value], names=["value"]) if nested else value
        name = "hashed_email" if nested else "mail"
        path = tmp_path / "bomb.parquet"
        table = pa.Table.from_arrays([column], names=[name])
        pq.write_table(table, path, compression="zstd", store_schema=False, row_group_size=count)
        assert path.stat().st_size < 4 << 20

        reading = NARRATIVE if nested else mapped(mail="EMAIL")
        before = pa.system_memory_pool().max_memory()
        with path.open("rb") as file, pytest.raises(LimitViolated) as violated:
            list(batches(file, 0, reading))
        assert "row_group_bytes" == violated.value.name
        # The first batch alone would take a gigabyte.
        assert pa.system_memory_pool().max_memory() <= max(before, 256 << 20)

    def test_many_small_rows(self) -> None:
        """The rows of a row group together, when few bytes stand for them."""
        table = pa.table({"mail": [f"person-{row % 50}@example.com" for row in range(20_000)]})
        rows = batches(file_of(table), 0, mapped(mail="EMAIL"), Limits(row_group=100_000))
        read = 0
        with suppress(LimitViolated):
            for batch in rows:
                read += batch.nbytes
        assert 0 < read <= 100_000
