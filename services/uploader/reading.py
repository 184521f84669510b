"""From a chunk's event to the rows that are sent: the read half of a delivery, for every format and kind of range.

A range of a plain text file is read as it is. Ranges of what has to be read forwards (compressed text, row groups of
Parquet) come from `Streams`, which read it once for all chunks of it. Decoding, parsing, hashing happen in threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self, assert_never

from connector.audience.layouts import Reading, reading_of
from connector.audience.prepare import Prepared, prepare
from connector.audience.records import Records
from connector.audience.records_ndjson import read_ndjson
from connector.files.decoding import Corrupt
from connector.files.delimited import read_table
from connector.files.limits import DEFAULT_LIMITS, Limits, LimitViolated
from connector.files.parquet import ROWS, frame_records
from connector.files.parquet_damage import UnreadableParquet
from connector.files.tape import BYTES
from connector.objects.errors import StoreError
from connector.objects.store import MAX_RANGE_BYTES
from connector.objects.stores import Stores
from connector.telemetry import Telemetry
from schemas.events import (
    MAX_CHUNK_RECORDS,
    ByteRange,
    ChunkReady,
    Compression,
    DecodedRange,
    Format,
    Operation,
    RowRange,
)
from services.uploader.endings import Again, Lost
from services.uploader.facts import PassBegun
from services.uploader.sessions import replace_schema
from services.uploader.settings import ReadingSettings
from services.uploader.sources import DecodedBytes, RowGroup
from services.uploader.streams import SpanMissing, Streams

RETRYABLE_READS = frozenset({"object_truncated"})
"""Besides what a store itself calls retryable: an object that is still being written may be whole the next time."""


class ChunkReader:
    """Reads and prepares chunks. Open it as a context: streams and threads are given back at its end."""

    def __init__(
        self,
        stores: Stores,
        workers: Executor,
        telemetry: Telemetry,
        settings: ReadingSettings,
        limits: Limits = DEFAULT_LIMITS,
        *,
        removal_rows: int = MAX_CHUNK_RECORDS,
    ) -> None:
        self._stores = stores
        self._workers = workers
        self._telemetry = telemetry
        self._limits = limits
        self._removal_rows = removal_rows
        # Threads of their own: one that waits for a store must not keep a worker from hashing.
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="read")
        self.streams = Streams(budget=settings.kept_bytes, idle=settings.idle, most=settings.streams)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.streams.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def prepared(self, chunk: ChunkReady) -> Prepared | Again | Lost:
        """The chunk's rows, if the range still holds exactly what was planned; otherwise nothing of it leaves."""
        records = await self._read(chunk)
        if not callable(records):
            return records
        try:
            # In a worker thread: arithmetic must not stop heartbeats.
            prepared = await asyncio.get_running_loop().run_in_executor(
                self._workers, _prepare, records, chunk, datetime.now(UTC).year, self._removal_rows
            )
        except UnreadableParquet as error:
            return Lost("file_unreadable", error.reason, str(error))
        if prepared.records != chunk.records:
            message = f"the range holds {prepared.records} records, {chunk.records} were planned"
            return Lost("records_mismatch", "range", message)
        return prepared

    async def _read(self, chunk: ChunkReady) -> Callable[[], Records] | Again | Lost:
        try:
            return await self._records(chunk, reading_of(chunk.layout, chunk.mapping))
        except StoreError as error:
            if error.retryable or error.code in RETRYABLE_READS:
                return Again(error.code, error.code, str(error))
            return Lost(error.code, error.code, str(error))
        except LimitViolated as error:
            return Lost("limit_violated", error.name, str(error))
        except (Corrupt, UnreadableParquet) as error:
            return Lost("file_unreadable", error.reason, str(error))
        except SpanMissing as error:
            return Lost("records_mismatch", "range", str(error))
        except ValueError as error:
            return Lost("range_refused", "range", str(error))

    async def _records(self, chunk: ChunkReady, reading: Reading) -> Callable[[], Records]:
        """The chunk's records, still to be parsed: that is work for a thread."""
        match chunk.range:
            case RowRange() as rows:
                _check(chunk, chunk.format is Format.PARQUET and chunk.compression is Compression.NONE)
                return await self._rows(chunk, rows, reading)
            case DecodedRange():
                _check(chunk, chunk.format is not Format.PARQUET and chunk.compression is not Compression.NONE)
                return _parser(chunk, reading, await self._decoded(chunk, chunk.range))
            case ByteRange(start=start, end=end):
                _check(chunk, chunk.format is not Format.PARQUET and chunk.compression is Compression.NONE)
                store = self._stores.get(chunk.store)
                return _parser(chunk, reading, await store.read_range(chunk.key, start, end, chunk.etag))
            case _:
                assert_never(chunk.range)

    async def _decoded(self, chunk: ChunkReady, decoded: DecodedRange) -> bytes:
        span = (decoded.start, decoded.end)
        if decoded.end - decoded.start > MAX_RANGE_BYTES:
            raise ValueError(f"range {decoded.start}-{decoded.end} is more than {MAX_RANGE_BYTES} bytes")
        store = self._stores.get(chunk.store)

        async def begin() -> DecodedBytes:
            stream = await DecodedBytes.open(
                store, chunk.key, chunk.etag, compression=chunk.compression, threads=self._threads, limits=self._limits
            )
            self._telemetry.emit(PassBegun(chunk.chunk_id, chunk.format, chunk.compression))
            return stream

        name = (chunk.store, chunk.key, chunk.etag, chunk.compression)
        pieces: list[bytes] = await self.streams.read(name, span, BYTES, begin)
        return b"".join(pieces)

    async def _rows(self, chunk: ChunkReady, rows: RowRange, reading: Reading) -> Callable[[], Records]:
        store = self._stores.get(chunk.store)

        async def begin() -> RowGroup:
            stream = await RowGroup.open(
                store,
                chunk.key,
                chunk.etag,
                row_group=rows.row_group,
                reading=reading,
                threads=self._threads,
                limits=self._limits,
            )
            self._telemetry.emit(PassBegun(chunk.chunk_id, chunk.format, chunk.compression))
            return stream

        name = (chunk.store, chunk.key, chunk.etag, rows.row_group, reading.columns)
        pieces = await self.streams.read(name, (rows.start, rows.end), ROWS, begin)
        return partial(frame_records, pieces, reading, first_record=chunk.first_record)


def _prepare(records: Callable[[], Records], chunk: ChunkReady, this_year: int, removal_rows: int) -> Prepared:
    return prepare(
        records(),
        reading_of(chunk.layout, chunk.mapping),
        this_year=this_year,
        value_based=chunk.value_based,
        max_rows=removal_rows if chunk.operation is Operation.REMOVE else MAX_CHUNK_RECORDS,
        schema=replace_schema(chunk) if chunk.operation is Operation.REPLACE else None,
    )


def _check(chunk: ChunkReady, fits: bool) -> None:  # noqa: FBT001 - it is the sentence that is checked
    if not fits:
        raise ValueError(
            f"a range of {chunk.range.kind} is none of a {chunk.format} file, compression {chunk.compression}"
        )


def _parser(chunk: ChunkReady, reading: Reading, block: bytes) -> Callable[[], Records]:
    """What parses *block*, once, and does not keep it: what a worker was given to do lives until it is done."""
    numbers = {"first_record": chunk.first_record, "first_line": chunk.first_line}
    kept = [block]
    match chunk.format:
        case Format.NDJSON:
            return lambda: read_ndjson(kept.pop(), reading, **numbers)
        case Format.CSV | Format.TSV:
            table = chunk.table
            if table is None:
                raise ValueError(f"a chunk of {chunk.format} that does not say what its columns are")
            return lambda: read_table(kept.pop(), table, reading, **numbers)
        case Format.PARQUET:
            raise ValueError("rows of Parquet are not bytes")
        case _:
            assert_never(chunk.format)
