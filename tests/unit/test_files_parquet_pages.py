"""Pages of Parquet are followed by their headers, whoever wrote them, and refused before Arrow makes room for them."""

import io
from contextlib import suppress
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import ParquetFile

from connector.audience.layouts import reading_of
from connector.files.limits import Limits, LimitViolated
from connector.files.parquet import batches
from connector.files.parquet_damage import UnreadableParquet
from connector.files.parquet_footer import read_footer
from connector.files.parquet_opening import opened
from connector.files.parquet_pages import Chunk, CutShort, WatchedFile, page_header
from schemas.events import Layout
from schemas.match_keys import ColumnMapping

MAIL = reading_of(Layout.COLUMNS, ColumnMapping.model_validate({"columns": {"mail": {"key": "EMAIL", "mode": "raw"}}}))
ROWS = 5_000
PEOPLE = pa.table(
    {
        "mail": [f"p{row}@example.com" for row in range(ROWS)],
        "city": [None if row % 7 else f"town {row % 30}" for row in range(ROWS)],
        "one": [{"two": {"three": row}} for row in range(ROWS)],
        "tags": [["a"] * (row % 3) for row in range(ROWS)],
    }
)
WRITERS: dict[str, dict[str, Any]] = {
    "plain": {"compression": "none", "use_dictionary": False},
    "snappy": {"compression": "snappy"},
    "gzip": {"compression": "gzip", "data_page_size": 1_000},
    "zstd, second version": {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 3_000},
    "lz4, with an index": {"compression": "lz4", "write_page_index": True},
    "checksums": {"compression": "brotli", "write_page_checksum": True, "use_byte_stream_split": False},
}


def watched(data: bytes, names: set[str], most: int = 1 << 20) -> tuple[WatchedFile, ParquetFile]:
    """A file that is watched, and Arrow reading from it."""
    file = WatchedFile(io.BytesIO(data), 256 << 20, most)
    arrow, chunks = opened(file)
    paths = [arrow.metadata.schema.column(number).path for number in range(arrow.metadata.num_columns)]
    file.watch({path: chunk for path, chunk in zip(paths, chunks[0], strict=True) if path.split(".")[0] in names})
    return file, arrow


def written(**options: Any) -> bytes:
    """The people as a file."""
    out = io.BytesIO()
    pq.write_table(PEOPLE, out, **options)
    return out.getvalue()


@pytest.mark.parametrize("writer", [*WRITERS, "polars"])
def test_every_page_is_seen(writer: str) -> None:
    """To the last page of every column, nested ones too, and the rows are those of the file."""
    if writer == "polars":
        out = io.BytesIO()
        pl.DataFrame(pl.from_arrow(PEOPLE)).write_parquet(out, data_page_size=2_000)
        data = out.getvalue()
    else:
        data = written(**WRITERS[writer])
    file, arrow = watched(data, {"mail", "city", "one", "tags"})
    rows = pa.Table.from_batches(list(arrow.iter_batches(1_000, use_threads=False)))

    assert rows.to_pylist() == PEOPLE.to_pylist()
    assert len(file._columns) == 4
    assert all((column._next, b"") == (column._end, column._begun) for column in file._columns.values())


def test_a_header_in_pieces() -> None:
    """However its bytes come: what is cut off is known to be, what follows does not matter."""
    data = written(compression="zstd", use_dictionary=False)[4:]
    whole = page_header(data)
    for size in range(whole.length):
        with pytest.raises(CutShort):
            page_header(data[:size])
    assert whole == page_header(data[: whole.length])


@given(st.binary(max_size=200))
def test_what_is_no_header(data: bytes) -> None:
    """Any bytes are a header, the beginning of one, or damage; sizes are never negative."""
    try:
        page = page_header(data)
    except (CutShort, UnreadableParquet):
        return
    assert min(page.size, page.stored) >= 0
    assert page.length <= len(data)


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_page_that_is_too_large(dictionary: bool) -> None:  # noqa: FBT001
    """A hundred megabytes in a page of some kilobytes: refused by its header, before they are anywhere."""
    out = io.BytesIO()
    table = pa.table({"mail": ["x" * (100 << 20)]})
    options = {"use_dictionary": dictionary, "write_statistics": False, "dictionary_pagesize_limit": 1 << 30}
    pq.write_table(table, out, compression="zstd", **options)
    del table
    assert len(out.getvalue()) < 100_000

    before = pa.total_allocated_bytes()
    with pytest.raises(LimitViolated, match="parquet_page_bytes is 67,108,864"):
        list(batches(out, 0, MAIL))
    assert pa.total_allocated_bytes() - before < 10 << 20


def test_pages_of_all_columns_count_together() -> None:
    """Two columns have a page each at the same time; one that is not read has none."""
    data = written(compression="zstd", use_dictionary=False)
    with pytest.raises(LimitViolated, match="parquet_page_bytes is 120,000"):
        list(watched(data, {"mail", "one"}, 120_000)[1].iter_batches(columns=["mail", "one"]))
    assert list(watched(data, {"mail"}, 120_000)[1].iter_batches(columns=["mail"]))


def test_a_row_group_that_says_it_is_too_large() -> None:
    """It is refused when the file is planned, by the columns that would be read and no others."""
    data = io.BytesIO(written(compression="zstd", use_dictionary=False))
    with pytest.raises(LimitViolated, match="row_group_bytes is 50,000"):
        read_footer(data, Limits(row_group=50_000), MAIL)
    assert read_footer(data, Limits(row_group=120_000), MAIL).rows == ROWS


def varint(number: int) -> bytes:
    """As Thrift writes it."""
    return (bytes([number & 0x7F | 0x80]) + varint(number >> 7)) if number > 0x7F else bytes([number])


HEADER = b"\x15\x00\x15\x14\x15\x14"  # fields 1, 2 and 3: a data page of ten bytes


@pytest.mark.parametrize(
    "more",
    [
        b"\x05" + varint(2 * ((1 << 16) + 2)) + b"\x15\x7e",  # field 65,538, which in 16 bits is the second
        b"\x05" + varint(3) + b"\x15\x7e",  # field -2
        b"\x18" + varint((1 << 32) + 1) + b"a",  # a text of 4 GiB and a byte, which in 32 bits is one of a byte
    ],
)
def test_numbers_that_others_cut_down(more: bytes) -> None:
    """A header that Thrift's own readers take for another one is none."""
    assert page_header(HEADER + b"\x00").size == 10
    with pytest.raises(UnreadableParquet):
        page_header(HEADER + more + b"\x00")


def chunk(data: bytes) -> Chunk:
    """A column chunk that begins with *data*."""
    return Chunk(frozenset(), 0, len(data), 0, None, is_encrypted=False)


def test_a_header_that_does_not_end() -> None:
    """Nothing is handed to Arrow whose header was not read to its end."""
    file = WatchedFile(io.BytesIO(HEADER), 1 << 20)
    file.watch({"mail": chunk(HEADER)})
    with pytest.raises(UnreadableParquet):
        file.read()


def test_pages_of_few_rows_count_together() -> None:
    """A batch of rows needs all the pages it comes from: a hundred pages of no row are one large page."""
    data = (HEADER + b"\x00" + bytes(10)) * 100
    file = WatchedFile(io.BytesIO(data), 1 << 20, most=999)
    file.watch({"mail": chunk(data)})
    with pytest.raises(LimitViolated, match="parquet_page_bytes is 999"):
        file.read()


def test_pages_of_a_row_group_count_together() -> None:
    """What is decompressed for nothing costs time."""
    page = HEADER + b"\x2c\x15" + varint(2 * 2_000) + b"\x15\x00\x00\x00" + bytes(10)
    file = WatchedFile(io.BytesIO(page * 100), 999)
    file.watch({"mail": chunk(page * 100)})
    assert page_header(page).values == 2_000
    with pytest.raises(LimitViolated, match="row_group_bytes is 999"):
        file.read()


def test_a_dictionary_of_too_many_values() -> None:
    """Each costs more than its bytes: six million of some bytes took 900 MiB."""
    out = io.BytesIO()
    numbers = pa.array([str(number) for number in range(1_500_000)])
    pq.write_table(pa.table({"mail": numbers}), out, row_group_size=2_000_000, dictionary_pagesize_limit=1 << 30)
    with pytest.raises(LimitViolated, match="parquet_page_bytes"):
        list(batches(out, 0, MAIL))


def test_prefixes_that_repeat() -> None:
    """Delta encoding says a megabyte in a byte, and no dictionary shows it: few rows are read at once."""
    out = io.BytesIO()
    options = {"use_dictionary": False, "column_encoding": {"mail": "DELTA_BYTE_ARRAY"}, "data_page_size": 1 << 30}
    pq.write_table(pa.table({"mail": ["x" * (1 << 20)] * 600}), out, write_statistics=False, **options)
    before, most = pa.system_memory_pool().bytes_allocated(), 0
    with suppress(LimitViolated):
        for _ in batches(out, 0, MAIL):
            most = max(most, pa.system_memory_pool().bytes_allocated() - before)
    assert 0 < most < 64 << 20
