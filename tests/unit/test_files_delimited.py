"""CSV and TSV: what the cutter promises whatever the bytes are, and that planner and reader count alike."""

import csv
import io
import re
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.audience.layouts import Reading, column_of, reading_of
from connector.audience.reasons import RowReason
from connector.audience.records import LINE, RECORD
from connector.files import delimited
from connector.files.cutting import START, Checkpoint, Chunk, Item, TooLong
from connector.files.delimited import DelimitedCutter, read_table
from connector.files.limits import LimitViolated
from connector.files.sound_table import read_sound
from schemas.events import Layout, Table
from schemas.match_keys import ColumnMapping

MAPPING = ColumnMapping.model_validate(
    {"columns": {"email": {"key": "EMAIL", "mode": "raw"}, "city": {"key": "CT", "mode": "raw"}}}
)
READING = reading_of(Layout.COLUMNS, MAPPING)
TABLE = Table(delimiter=",", width=3, positions=(0, 2))
NAMES = {0: column_of(("email",)), 2: column_of(("city",))}

rough = st.text(alphabet='"",,\n\n\r ab', max_size=60).map(str.encode)
"""Much of what decides where a record ends, and little else."""

wild = st.one_of(rough, st.binary(max_size=60), st.lists(rough | st.binary(max_size=5), max_size=8).map(b",".join))

Make = Callable[[Checkpoint], DelimitedCutter]


def small(checkpoint: Checkpoint = START) -> DelimitedCutter:
    """A cutter whose limits are met by a few bytes."""
    return DelimitedCutter(checkpoint, delimiter=",", max_records=3, max_line=12, max_chunk_bytes=24)


def large(checkpoint: Checkpoint = START) -> DelimitedCutter:
    """A cutter with a line limit of its own, so that several records fit a chunk."""
    return DelimitedCutter(checkpoint, delimiter=",", max_records=4, max_line=200, max_chunk_bytes=400)


def items_of(data: bytes, make: Make = small) -> list[Item]:
    """What a file is cut into when it comes in one block."""
    cutter = make(START)
    return [*cutter.feed(data), *cutter.finish()]


class TestCutting:
    """`DelimitedCutter`."""

    @settings(max_examples=600, deadline=None)
    @given(rough, st.lists(st.integers(0, 60), max_size=8))
    @example(b'h\n"aaaaaaaaaaaaa', [3])
    @example(b'h\n"a"\r', [6])
    @example(b"\xef\xbb\xbfh\na\n", [1, 2])
    def test_blocks_do_not_matter(self, data: bytes, cuts: list[int]) -> None:
        """However the bytes arrive, the items are the same."""
        cutter = small()
        found: list[Item] = []
        edges = [0, *sorted(cuts), len(data)]
        for start, end in pairwise(edges):
            found += cutter.feed(data[start:end])
        assert [*found, *cutter.finish()] == items_of(data)

    @settings(max_examples=400, deadline=None)
    @given(rough)
    def test_restarts_do_not_matter(self, data: bytes) -> None:
        """A cutter made from any checkpoint hands out what the first one would have."""
        cutter = small()
        found: list[Item] = []
        for at in range(len(data)):
            found += cutter.feed(data[at : at + 1])
            again = small(cutter.checkpoint)
            rest = [*again.feed(data[cutter.checkpoint.offset :]), *again.finish()]
            assert [*found, *rest] == items_of(data)

    @settings(max_examples=600, deadline=None)
    @given(rough)
    def test_nothing_is_lost(self, data: bytes) -> None:
        """Records are numbered without a gap, ranges do not overlap, and every line with text is header or record."""
        cutter = large()
        items = [*cutter.feed(data), *cutter.finish()]
        expected, end = 1, 0
        for item in items:
            match item:
                case Chunk():
                    assert item.first_record == expected
                    assert end <= item.start < item.end <= len(data)
                    expected, end = expected + item.records, item.end
                case TooLong():
                    assert item.record == expected
                    expected += 1
        assert cutter.checkpoint.records == expected - 1
        assert cutter.checkpoint.offset == len(data)
        assert cutter.checkpoint.lines == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))

    def test_an_open_quote_does_not_swallow_the_file(self) -> None:
        """One quote that never closes costs its own line, whatever follows."""
        rows = [f"p{n}@example.com,x,y\n" for n in range(100_000)]
        rows[10] = '"p10@example.com,x,y\n'
        items = items_of(("a,b,c\n" + "".join(rows)).encode(), lambda start: DelimitedCutter(start, delimiter=","))
        assert [item for item in items if isinstance(item, TooLong)] == [TooLong(record=11, line=12)]
        assert sum(item.records for item in items if isinstance(item, Chunk)) == 99_999

    def test_a_file_of_open_quotes_is_refused(self) -> None:
        """A file made to be read again from each of its lines is given up, not read for hours."""
        data = b"h\n" + b'x",",\n' * 300_000
        cutter = DelimitedCutter(delimiter=",")
        with pytest.raises(LimitViolated, match="bytes_behind_open_quotes"):
            cutter.feed(data)


def assert_alike(block: bytes, table: Table = TABLE, max_line: int = 1 << 20) -> None:
    """The columnar parser, where it is used, gives what the plain reading gives."""
    names = delimited._names(table, READING)
    fast = read_sound(block, table, names, max_line)
    if fast is None:
        return
    slow = delimited._read_record_by_record(block, table, READING, (1, 1), max_line)
    assert not slow.rejects
    assert list(slow.frame[LINE]) == list(range(1, fast.height + 1))
    assert fast.select(names.values()).equals(slow.frame.select(names.values()))


class TestReading:
    """`read_table`, alone and together with the cutter."""

    @settings(max_examples=400, deadline=None)
    @given(wild)
    @example(b'h\n"a\nb\nc\nd\n')
    @example(b'h\n1\n2\n3\n"a\nb\nc"d\n')
    def test_planner_and_reader_count_alike(self, data: bytes) -> None:
        """Every chunk holds for the reader exactly the records the planner counted, good or bad, and never raises."""
        for make, max_line in ((small, 12), (large, 200)):
            for item in items_of(data, make):
                if isinstance(item, TooLong):
                    continue
                block = data[item.start : item.end]
                found = read_table(
                    block,
                    TABLE,
                    READING,
                    first_record=item.first_record,
                    first_line=item.first_line,
                    max_line=max_line,
                )
                numbers = sorted([*found.frame[RECORD], *(reject.record for reject in found.rejects)])
                assert found.count == item.records
                assert numbers == list(range(item.first_record, item.first_record + item.records))

    @settings(max_examples=600, deadline=None)
    @given(
        st.lists(st.tuples(*[st.text(alphabet="ab \r\"',\n\x0b\té\ufeff#\\", max_size=4)] * 3), max_size=6),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONE]),
    )
    def test_both_ways_read_alike(self, rows: list[tuple[str, str, str]], end: str, quoting: Any) -> None:
        """The columnar parser gives what the plain one gives, wherever it is used."""
        if quoting == csv.QUOTE_NONE:
            block = "".join(",".join(row) + end for row in rows).encode()
        else:
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator=end, quoting=quoting).writerows(rows)
            block = text.getvalue().encode()
        assert_alike(block)

    @settings(max_examples=1_500, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [b'"', b'""', b",", b"\t", b"\n", b"\r\n", b"\r", b" ", b"a", b"\0", b"\xff", b"\xef\xbb\xbf"]
            )
            | st.sampled_from(
                [b"a,b,c\n", b'"a",,""\n', b'a,"b,b",c\r\n', b'"a""a",b,c\n', b"\t\t\n", b'"a"\t\t\n', b"a\n"]
            ),
            max_size=8,
        ).map(b"".join),
        st.sampled_from([",", "\t"]),
        st.sampled_from([1, 3]),
        st.sampled_from([6, 8, 1 << 20]),
    )
    def test_what_is_found_sound_reads_alike(self, block: bytes, delimiter: str, width: int, max_line: int) -> None:
        """Bytes of every nasty kind: where the columnar parser is used, the plain reading finds the same, no reject."""
        assert_alike(block, Table(delimiter=delimiter, width=width, positions=(0, width - 1)), max_line)

    @given(st.lists(st.sampled_from([b"a", b'"a"', b'"a,a"', b"", b'""', b'"a""a"']), min_size=3, max_size=3))
    def test_sound_lines_take_the_fast_way(self, fields: list[bytes]) -> None:
        """However the values of a line are quoted: it is not read one by one for that."""
        line = b",".join(fields) + b"\n"
        assert read_sound(line * 3, TABLE, NAMES, 1 << 20) is not None

    def test_sound_quotes_take_the_fast_way(self) -> None:
        """Quotes and delimiters within them are no reason to read a table line by line."""
        block = b'a@example.com,x,"Paris, TX"\r\n"b@example.com","","say ""hi"""\r\n'
        fast = read_sound(block, TABLE, NAMES, 1 << 20)
        assert fast is not None
        assert fast.rows() == [("a@example.com", "Paris, TX"), ("b@example.com", 'say "hi"')]

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.lists(
                st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6),
                min_size=3,
                max_size=3,
            ),
            max_size=6,
        )
    )
    def test_reads_what_the_csv_module_wrote(self, rows: list[list[str]]) -> None:
        """Any table as Python's own writer writes it comes back value by value."""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
        found = read_table(text.getvalue().encode(), TABLE, READING, first_record=1, first_line=1)
        assert not found.rejects
        assert list(found.frame[column_of(("email",))]) == [row[0] or None for row in rows]
        assert list(found.frame[column_of(("city",))]) == [row[2] or None for row in rows]

    def test_nothing_is_unpacked(self) -> None:
        """A chunk that begins like something compressed is bytes like any other: it is no way around the limits."""
        # Stored, not deflated: zlib's bytes are then lines of a table before they are unpacked and after.
        packed = (zlib.compress(b"\n".join([b"ann%d@example.com,x,y" % n] * 20), 0) for n in range(1_000))
        block = next(each for each in packed if each.count(b",") == 40 and not re.search(rb'[\r\0"]', each))
        found = read_table(block, TABLE, READING, first_record=1, first_line=1)
        assert found.frame[RECORD].to_list() == list(range(2, 20))
        assert [(reject.record, reject.reason) for reject in found.rejects] == [
            (1, RowReason.INVALID_UTF8),
            (20, RowReason.INVALID_UTF8),
        ]

    def test_each_bad_line_has_its_own_reason(self) -> None:
        """What cannot be read is named by record, line and reason; the line of a long record is its first."""
        block = b'a,"x\ny",b\n\xff,x,b\na\0,x,b\na,b\n"a"x,b,c\n\na,5" nail,c\n"a,b\n'
        found = read_table(block, TABLE, READING, first_record=11, first_line=21)
        assert [(reject.record, reject.line, reject.reason) for reject in found.rejects] == [
            (12, 23, RowReason.INVALID_UTF8),
            (13, 24, RowReason.NUL),
            (14, 25, RowReason.WRONG_WIDTH),
            (15, 26, RowReason.MALFORMED_QUOTES),
            (17, 29, RowReason.MALFORMED_QUOTES),
        ]
        assert list(zip(found.frame[RECORD], found.frame[LINE], strict=True)) == [(11, 21), (16, 28)]
        assert found.count == 7


def test_a_table_without_a_place_reads_as_nothing() -> None:
    """A column the file has not is empty, not an error."""
    reading: Reading = READING
    table = Table(delimiter=";", width=1, positions=(0, None))
    found = read_table(b"a@example.com\nb@example.com\n", table, reading, first_record=1, first_line=2)
    assert list(found.frame[column_of(("email",))]) == ["a@example.com", "b@example.com"]
    assert list(found.frame[column_of(("city",))]) == [None, None]
