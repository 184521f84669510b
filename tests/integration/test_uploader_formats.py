"""Chunks of every format, from event to outcome: everybody arrives, and what a file should not be is told."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from connector.audience.layouts import reading_of
from connector.files.header import table_of
from schemas.events import (
    ByteRange,
    ChunkReady,
    Compression,
    DecodedRange,
    Delivered,
    Format,
    Layout,
    RowRange,
    Table,
)
from tests.integration.uploader_parts import Bench
from tests.records import address, digest, emails, line

pytest_plugins = ("tests.integration.uploader_fixtures",)

WHO = "formats"
PEOPLE = 40
PACKING: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstd.compress,
}


def lines(numbers: range) -> bytes:
    """NDJSON of these people."""
    return b"".join(line(WHO, number).encode() + b"\n" for number in numbers)


def text_of(format_: Format) -> tuple[bytes, bytes]:
    """A header and the lines of all people."""
    if format_ is Format.NDJSON:
        return b"", lines(range(PEOPLE))
    between = "\t" if format_ is Format.TSV else ";"
    header = f"note{between}hashed_email.value{between}hashed_email.type\n"
    rows = "".join(f"n{between}{digest(address(WHO, number))}{between}sha256_email\n" for number in range(PEOPLE))
    return header.encode(), rows.encode()


async def reader_says(bench: Bench, chunk: ChunkReady) -> tuple[str, str]:
    """Reason and code of a chunk that cannot be read."""
    found = await bench.deliverer._reader.prepared(chunk)
    return found.reason, found.code  # type: ignore[union-attr]


class TestEverybodyArrives:
    @pytest.mark.parametrize("compression", list(Compression))
    @pytest.mark.parametrize("format_", [Format.NDJSON, Format.CSV, Format.TSV])
    async def test_text(self, bench: Bench, format_: Format, compression: Compression) -> None:
        """Plain or compressed lines, with the header in no chunk."""
        header, rows = text_of(format_)
        path = bench.folder / "people"
        path.write_bytes(PACKING[compression](header + rows))
        table = None
        if format_ is not Format.NDJSON:
            table = table_of(header, format_, reading_of(Layout.NARRATIVE_DATASET), is_whole=True)
            assert isinstance(table, Table)
        kind: Any = ByteRange if compression is Compression.NONE else DecodedRange
        chunk = await bench.chunk_of(
            path,
            format=format_,
            compression=compression,
            table=table,
            records=PEOPLE,
            range=kind(start=len(header), end=len(header + rows)),
        )
        await bench.handle(chunk)

        outcome = bench.outbox.outcome
        assert isinstance(outcome.outcome, Delivered)
        assert (PEOPLE, PEOPLE) == (outcome.counts.accepted, bench.contains(emails(WHO, range(PEOPLE))))

    async def test_parquet(self, bench: Bench) -> None:
        """Rows of a row group, from the middle of it."""
        path = bench.folder / "people.parquet"
        people = [{"value": digest(address(WHO, number)), "type": "sha256_email"} for number in range(PEOPLE)]
        pq.write_table(pa.table({"hashed_email": people}), path, row_group_size=PEOPLE // 2)
        chunk = await bench.chunk_of(
            path,
            format=Format.PARQUET,
            records=10,
            range=RowRange(row_group=1, start=5, end=15),
            first_record=26,
            first_line=26,
        )
        await bench.handle(chunk)

        assert 10 == bench.outbox.outcome.counts.accepted
        assert 10 == bench.contains(emails(WHO, range(25, 35))) == bench.count()


class TestOnePass:
    async def test_chunks_of_a_compressed_file(self, bench: Bench) -> None:
        """20 chunks of one file, 16 at a time and half of the readers killed in between: one pass, nothing is left."""
        blocks = [lines(range(number, number + 1)) for number in range(20)]
        path = bench.folder / "people.gz"
        path.write_bytes(gzip.compress(b"".join(blocks)))
        ends = [sum(map(len, blocks[:number])) for number in range(21)]
        chunks = [
            await bench.chunk_of(
                path,
                compression=Compression.GZIP,
                range=DecodedRange(start=ends[number], end=ends[number + 1]),
                records=1,
                first_record=number + 1,
                first_line=number + 1,
            )
            for number in range(20)
        ]
        reader, turns = bench.deliverer._reader, asyncio.Semaphore(16)

        async def one(chunk: ChunkReady) -> object:
            async with turns:
                return await reader.prepared(chunk)

        tasks = [asyncio.create_task(one(chunk)) for chunk in reversed(chunks)]
        await asyncio.sleep(0)
        for task in tasks[:16:2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)

        assert [1] * 12 == [prepared.sent for prepared in found if not isinstance(prepared, BaseException)]  # type: ignore[attr-defined]
        assert (1, 1) == (reader.streams.opened, reader.streams.streams)
        assert reader.streams.kept <= len(b"".join(blocks))

    async def test_chunks_of_a_row_group(self, bench: Bench) -> None:
        """One pass for each row group."""
        path = bench.folder / "people.parquet"
        people = [{"value": digest(address(WHO, number)), "type": "sha256_email"} for number in range(PEOPLE)]
        pq.write_table(pa.table({"hashed_email": people}), path, row_group_size=PEOPLE // 2)
        for row_group in range(2):
            for start in (0, 10):
                rows = RowRange(row_group=row_group, start=start, end=start + 10)
                chunk = await bench.chunk_of(path, format=Format.PARQUET, records=10, range=rows)
                await bench.handle(chunk)

        assert (2, PEOPLE) == (bench.deliverer._reader.streams.opened, bench.count())


class TestWhatCannotBeRead:
    async def test_damaged_and_short_files(self, bench: Bench) -> None:
        """Cut off, damaged, of another kind, or with fewer records: each is told apart, nothing leaves."""
        whole = gzip.compress(lines(range(PEOPLE)))
        size = len(lines(range(PEOPLE)))
        short, broken, parquet = (bench.folder / name for name in ("short", "broken", "parquet"))
        short.write_bytes(whole[: len(whole) // 2])
        broken.write_bytes(whole[:20] + bytes(200))
        parquet.write_bytes(b"PAR1 and nothing more")
        packed: dict[str, Any] = {"compression": Compression.GZIP, "records": PEOPLE}
        packed["range"] = DecodedRange(start=0, end=size)
        rows: dict[str, Any] = {"format": Format.PARQUET, "range": RowRange(row_group=0, start=0, end=1), "records": 1}

        assert ("file_unreadable", "truncated") == await reader_says(bench, await bench.chunk_of(short, **packed))
        assert ("file_unreadable", "damaged") == await reader_says(bench, await bench.chunk_of(broken, **packed))
        assert ("file_unreadable", "not_parquet") == await reader_says(bench, await bench.chunk_of(parquet, **rows))
        short.write_bytes(whole)
        beyond = packed | {"range": DecodedRange(start=0, end=size + 1)}
        assert ("records_mismatch", "range") == await reader_says(bench, await bench.chunk_of(short, **beyond))
        rows |= {"format": Format.CSV}
        assert ("range_refused", "range") == await reader_says(bench, await bench.chunk_of(parquet, **rows))

    async def test_bombs(self, bench: Bench) -> None:
        """A ratio that no list of people has is refused by its name."""
        path = bench.folder / "bomb"
        path.write_bytes(gzip.compress(bytes(30 << 20)))
        chunk = await bench.chunk_of(
            path, compression=Compression.GZIP, records=1, range=DecodedRange(start=20 << 20, end=21 << 20)
        )

        assert ("limit_violated", "compression_ratio") == await reader_says(bench, chunk)
