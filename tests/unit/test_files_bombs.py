"""The bomb corpus: small files that want to be large. Each is refused by its limit, in bounded memory, measured."""

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

MIB = 1 << 20
MOST_MIB = 150
"""What refusing a bomb may take above what the process holds before it opens it."""

READ = """
import resource, sys
from pathlib import Path
import pyarrow.parquet, polars  # idle is with everything imported

from connector.audience.layouts import reading_of
from connector.files.cutting import START, Chunk
from connector.files.delimited import read_table
from connector.files.formats import FileKind, kind_of
from connector.files.header import table_of
from connector.files.limits import LimitViolated
from connector.files.parquet import batches
from connector.files.parquet_footer import read_footer
from connector.files.text import TextCutting, decoded_head
from connector.audience.records_ndjson import read_ndjson
from schemas.events import FileRef, Format, Layout
from schemas.match_keys import ColumnMapping

path = Path(sys.argv[1])
kind = kind_of(FileRef(name=path.name, store="local", key=path.name))
mapping = ColumnMapping.model_validate({"columns": {"mail": {"key": "EMAIL", "mode": "raw"}}})
reading = reading_of(Layout.COLUMNS, mapping)

def told():
    rejects = {}
    with path.open("rb") as file:
        if kind.format is Format.PARQUET:
            read_footer(file, reading=reading)
            return sum(len(batch) for batch in batches(file, 0, reading))
        table = None
        if kind.format is not Format.NDJSON:
            head = decoded_head(file.read(262_144), kind.compression, 262_144)
            table = table_of(head, kind.format, reading)
            if not hasattr(table, "width"):
                return table.code
        cutting = TextCutting(kind, table, START)
        file.seek(0)
        items = []
        while block := file.read(1 << 20):
            for step in cutting.feed(block):
                items += step
        items += cutting.finish()
        for item in items:
            if not isinstance(item, Chunk):
                rejects["too_long"] = rejects.get("too_long", 0) + 1
                continue
            file.seek(item.start)
            block = file.read(item.end - item.start)
            first = {"first_record": item.first_record, "first_line": item.first_line}
            found = read_table(block, table, reading, **first) if table else read_ndjson(block, reading, **first)
            assert found.count == item.records
            for reject in found.rejects:
                rejects[reject.reason.value] = rejects.get(reject.reason.value, 0) + 1
    return rejects

read_ndjson(b'{"mail": "warm@example.com"}', reading, first_record=1, first_line=1)
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    answer = told()
except LimitViolated as violated:
    answer = violated.name
print(answer)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) / 1024)
"""


def _repeated(packed: bytes, times: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            for _ in range(times):
                file.write(packed)

    return write


def _one_page(path: Path) -> None:
    pq.write_table(
        pa.table({"mail": ["x" * (200 * MIB)]}), path, compression="zstd", use_dictionary=False, write_statistics=False
    )


def _one_word(path: Path) -> None:
    """A megabyte, a million times, as a dictionary of one."""
    word = pa.DictionaryArray.from_arrays(pa.nulls(1_000_000, pa.int32()).fill_null(0), pa.array(["x" * MIB]))
    table = pa.Table.from_arrays([word], names=["mail"])
    pq.write_table(table, path, compression="zstd", store_schema=False, row_group_size=1_000_000)


def _entries(path: Path) -> None:
    """Some bytes each, a few million of them, as one dictionary."""
    numbers = pa.array(range(4_000_000)).cast(pa.string())
    options = {"row_group_size": 4_000_000, "dictionary_pagesize_limit": 1 << 30, "write_statistics": False}
    pq.write_table(pa.table({"mail": numbers}), path, compression="zstd", **options)


def _prefixes(path: Path) -> None:
    """A megabyte, written once and then said to be the same as before."""
    options = {"use_dictionary": False, "column_encoding": {"mail": "DELTA_BYTE_ARRAY"}, "write_statistics": False}
    table = pa.table({"mail": ["x" * MIB] * 600})
    pq.write_table(table, path, compression="zstd", data_page_size=1 << 30, **options)


def _bytes(data: bytes) -> Callable[[Path], None]:
    return _repeated(data, 1)


def _bombs() -> Iterator[tuple[str, Callable[[Path], None], str]]:
    deep = b'{"mail":' + b"[" * 400_000 + b"]" * 400_000 + b"}\n"
    yield "zeros.ndjson.gz", _repeated(gzip.compress(bytes(64 * MIB)), 16), "compression_ratio"
    yield "zeros.ndjson.zst", _repeated(zstd.compress(bytes(64 * MIB)), 16), "compression_ratio"
    yield "lines.ndjson.gz", _bytes(gzip.compress(b"{}\n" * (8 * MIB))), "compression_ratio"
    yield "deep.ndjson", _bytes(deep * 9), "{'too_deep': 9}"
    yield "deep.ndjson", _bytes(b'{"a":' * 200_000 + b"\n"), "{'too_deep': 1}"
    yield "line.ndjson", _repeated(b"a" * MIB, 100), "{'too_long': 1}"
    yield "line.csv", _bytes(b"mail\n" + b"a" * (100 * MIB)), "{'too_long': 1}"
    yield "columns.csv", _bytes(b"mail," * 1_000_000), "columns"
    yield "open.csv", _bytes(b'mail\n"a\n' + b"p@example.com\n" * 300_000), "{'too_long': 1}"
    yield "page.parquet", _one_page, "parquet_page_bytes"
    yield "entries.parquet", _entries, "parquet_page_bytes"
    yield "prefixes.parquet", _prefixes, "row_group_bytes"
    yield "word.parquet", _one_word, "row_group_bytes"


@pytest.mark.parametrize(("name", "write", "answer"), list(_bombs()))
def test_bomb(tmp_path: Path, name: str, write: Callable[[Path], None], answer: str) -> None:
    """Read as planner and uploader read it, in a process of its own: the limit is named and memory stays."""
    path = tmp_path / name
    write(path)
    found = subprocess.run([sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True)
    told, above = found.stdout.splitlines()
    assert told == answer
    assert float(above) < MOST_MIB
