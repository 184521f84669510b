"""Planning files of every format: what the uploader is told to read is what is in them, and bombs are refused."""

import gzip
import io
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from backports import zstd

from connector.audience.layouts import reading_of
from connector.audience.records import RECORD, Records
from connector.audience.records_ndjson import read_ndjson
from connector.files.delimited import read_table
from connector.objects.errors import StoreUnavailable
from connector.objects.stores import Stores
from schemas.events import ByteRange, ChunkReady, Compression, DeliveryState, FileRef, Format, Layout, RowRange
from schemas.match_keys import ColumnMapping
from services.ingest import accounting
from services.ingest.patience import TryLater
from tests.integration.ingest_parts import Rig
from tests.integration.test_ingest_planning import Fuse, MortalStore

pytest_plugins = ("tests.integration.ingest_fixtures",)

MAPPING = ColumnMapping.model_validate({"columns": {"email": {"key": "EMAIL", "mode": "raw"}}})
READING = reading_of(Layout.COLUMNS, MAPPING)
ROWS = 25_000


def table(delimiter: str) -> bytes:
    """A table with something to quote, so that records are not lines."""
    lines = [f'"p{n}@example.com"{delimiter}"two\nlines"' for n in range(ROWS)]
    return "\r\n".join([f"email{delimiter}note", *lines]).encode()


def ndjson() -> bytes:
    """The same people."""
    return b"".join(b'{"email": "p%d@example.com"}\n\n' % n for n in range(ROWS))


CONTENT: dict[str, Callable[[], bytes]] = {
    "ndjson": ndjson,
    "csv": lambda: table(";"),
    "tsv": lambda: table("\t"),
}
PACKERS: dict[str, tuple[Compression, Callable[[bytes], bytes]]] = {
    "": (Compression.NONE, bytes),
    ".gz": (Compression.GZIP, lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:], 1)),
    ".zst": (Compression.ZSTD, lambda data: zstd.compress(data[:99]) + zstd.compress(data[99:])),
}


def put(rig: Rig, name: str, data: bytes) -> FileRef:
    """A file in the store."""
    (rig.folder / name).write_bytes(data)
    return FileRef(name=name, store="local", key=name)


def parsed(chunk: ChunkReady, data: bytes) -> Records:
    """What a reader makes of a chunk, by its event alone and the file's decoded bytes."""
    assert isinstance(chunk.range, ByteRange)
    block = data[chunk.range.start : chunk.range.end]
    if chunk.table is None:
        return read_ndjson(block, READING, first_record=chunk.first_record, first_line=chunk.first_line)
    return read_table(block, chunk.table, READING, first_record=chunk.first_record, first_line=chunk.first_line)


def mapped(rig: Rig, *files: FileRef, **changes: Any) -> Any:
    """A delivery of files with the customer's own columns."""
    return rig.event(*files, layout=Layout.COLUMNS, mapping=MAPPING, **changes)


class TestEveryFormat:
    """Text in every compression, and Parquet."""

    @pytest.mark.parametrize("ending", CONTENT)
    @pytest.mark.parametrize("packing", PACKERS)
    async def test_chunks_hold_everybody_once(self, rig: Rig, ending: str, packing: str) -> None:
        """The chunk events of a file, read by nothing but what they say, give every person once and in order."""
        compression, pack = PACKERS[packing]
        data = CONTENT[ending]()
        event = mapped(rig, put(rig, f"people.{ending}{packing}", pack(data)))
        await rig.planned(event)
        found = [ready for _, ready in await rig.chunks(event.revision)]
        assert {(Format(ending), compression)} == {(ready.format, ready.compression) for ready in found}
        assert all(ready.mapping == MAPPING for ready in found)
        assert {"bytes" if not packing else "decoded"} == {ready.range.kind for ready in found}
        frames = [parsed(ready, data).frame for ready in found]
        assert [10_000, 10_000, 5_000] == [frame.height for frame in frames]
        people = pl.concat(frames)
        assert list(people[RECORD]) == list(range(1, ROWS + 1))
        assert list(people["/email"]) == [f"p{n}@example.com" for n in range(ROWS)]

    async def test_parquet_is_cut_within_row_groups(self, rig: Rig) -> None:
        """Ranges of rows never reach beyond their row group, and cover each."""
        out = io.BytesIO()
        frame = pl.DataFrame({"email": [f"p{n}@example.com" for n in range(ROWS)]})
        frame.write_parquet(out, row_group_size=12_000)
        event = mapped(rig, put(rig, "people.parquet", out.getvalue()))
        await rig.planned(event)
        found = [ready for _, ready in await rig.chunks(event.revision)]
        ranges = [ready.range for ready in found]
        assert all(isinstance(rows, RowRange) for rows in ranges)
        covered = [(rows.row_group, rows.start, rows.end) for rows in ranges if isinstance(rows, RowRange)]
        assert covered == [(0, 0, 10_000), (0, 10_000, 12_000), (1, 0, 10_000), (1, 10_000, 12_000), (2, 0, 1_000)]
        assert [ready.first_record for ready in found] == [1, 10_001, 12_001, 22_001, 24_001]

    async def test_a_compressed_file_goes_on_where_it_was(self, rig: Rig) -> None:
        """A store that goes away in the middle of a gzip stream costs nothing: the plan goes on, nobody comes twice."""
        data = b"".join(b'{"email": "%064x@example.com"}\n' % (n * 7919**7 % 2**251) for n in range(60_000))
        event = mapped(rig, put(rig, "long.ndjson.gz", gzip.compress(data, 0)))
        await rig.acceptor.accept(event, via="topic")
        for moment in (3, 4):
            store = MortalStore(rig.stores.get("local"), Fuse(moment), error=StoreUnavailable)
            with pytest.raises(TryLater):
                await rig.planner(stores=Stores({"local": store})).plan(event.revision)
        await rig.planner().plan(event.revision)
        found = [ready for _, ready in await rig.chunks(event.revision)]
        assert [10_000] * 6 == [ready.records for ready in found]
        assert [n * 10_000 + 1 for n in range(6)] == [ready.first_record for ready in found]
        assert b"".join(data[r.range.start : r.range.end] for r in found) == data


BOMBS: dict[str, tuple[str, Callable[[], bytes], str, str]] = {
    "gzip": ("a.ndjson.gz", lambda: gzip.compress(bytes(64 << 20)), "limit_violated", "compression_ratio is 200"),
    "zstd": ("a.ndjson.zst", lambda: zstd.compress(bytes(64 << 20)), "limit_violated", "compression_ratio is 200"),
    "columns": ("a.csv", lambda: b"email," * 1_000_000, "limit_violated", "columns is 256"),
    "zip": ("a.csv", lambda: b"PK\x03\x04" + bytes(100), "archive", "zip archive"),
    "tar in gzip": ("a.csv.gz", lambda: gzip.compress(b"a" * 257 + b"ustar" + bytes(300)), "archive", "tar archive"),
    "twice": ("a.csv.gz", lambda: gzip.compress(gzip.compress(b"email\n")), "packed_twice", "begins like gzip"),
    "parquet": ("a.parquet", lambda: b"PAR1" + bytes(100), "corrupt_file", "Parquet"),
    "truncated": ("a.csv.gz", lambda: gzip.compress(table(","))[:-9], "corrupt_file", "ends in the middle"),
    "damaged": ("a.csv.zst", lambda: zstd.compress(table(","))[:-200] + bytes(200), "corrupt_file", "file"),
    "no gzip": ("a.csv.gz", lambda: table(","), "format_contradicts_content", "said to be gzip"),
    "no header": ("a.csv", lambda: b"eve@example.com,x\n" * 5, "no_mapped_column", "email"),
    "utf-16": ("a.csv", lambda: "email\np@example.com\n".encode("utf-16"), "not_utf8", "UTF-16"),
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_what_is_no_good_is_refused_by_name(rig: Rig, bomb: str) -> None:
    """A file that is more than it may be, or not what it says, fails the delivery with the limit or the reason."""
    name, make, code, words = BOMBS[bomb]
    event = mapped(rig, put(rig, name, make()))
    delivery = await rig.planned(event)
    [facts] = await rig.facts(event.revision)
    assert facts.plan_failure is not None
    assert (facts.plan_failure.code, words in facts.plan_failure.message) == (code, True)
    assert "@" not in facts.plan_failure.message, "a reason never quotes the file"
    assert facts.chunks or delivery.state is DeliveryState.FAILED


async def test_a_file_of_lines_that_are_too_long_fails(rig: Rig) -> None:
    """A delivery all of whose records are in no chunk ends as failed, and says that none was valid."""
    event = mapped(rig, put(rig, "long.csv", b"email\n" + (b"a" * (1 << 20) + b"b\n") * 2))
    delivery = await rig.planned(event)
    assert delivery.state is DeliveryState.FAILED
    assert delivery.reason is not None
    assert delivery.reason.code == "no_valid_record"
    async with rig.engine.connect() as connection:
        assert await accounting.reject_reasons(connection, event.revision) == {0: {"line_too_long": 2}}
