"""Where streams come from: the decoded bytes of a compressed object, the rows of a row group of a Parquet object.

Stored bytes are read by ranges of one version, never in one long answer: a stream whose account is throttled rests for
minutes, and no store holds a connection that long.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from connector.audience.layouts import Reading
from connector.files.decoding import PIECE_BYTES, decoder
from connector.files.limits import DEFAULT_LIMITS, Limits
from connector.files.parquet import batches
from connector.objects.errors import ObjectChanged, StoreUnavailable
from connector.objects.ranged import RangedFile, open_ranged
from connector.objects.store import ObjectInfo, ObjectStore, unquoted
from schemas.events import Compression

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW_BYTES = 1 << 20
"""Stored bytes that are asked for at once."""

READ_SECONDS = 60.0
"""How long one read may take, the store's own attempts included."""


class DecodedBytes:
    """What a compressed object decodes to, in pieces of one to two MiB; smaller ones where the object is odd.

    A read that fails may be tried again: nothing of the stream is lost by it.
    """

    resumable = True
    ended = False

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        info: ObjectInfo,
        *,
        compression: Compression,
        threads: Executor,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._store = store
        self._key = key
        self._info = info
        self._threads = threads
        self._decoder = decoder(compression, limits)
        self._pieces: Iterator[bytes] | None = None
        self._at = 0

    @classmethod
    async def open(
        cls,
        store: ObjectStore,
        key: str,
        etag: str,
        *,
        compression: Compression,
        threads: Executor,
        limits: Limits = DEFAULT_LIMITS,
    ) -> "DecodedBytes":
        """The version *etag* from its beginning.

        Raises:
            StoreError: It is not there, or is another version by now.
        """
        info = await store.head(key)
        if info.etag != unquoted(etag):
            raise ObjectChanged(f"{key!r} is not the version that was planned")
        return cls(store, key, info, compression=compression, threads=threads, limits=limits)

    async def next(self) -> bytes | None:
        """The next piece.

        Raises:
            StoreError: The object cannot be read.
            Corrupt: It is not what its compression says.
            LimitViolated: It is more than it may be.
        """
        while True:
            if self._pieces is None:
                if self._at >= self._info.size:
                    self._decoder.finish()
                    return None
                self._pieces = self._decoder.feed(await self._window())
            loop = asyncio.get_running_loop()
            piece, is_exhausted = await loop.run_in_executor(self._threads, _gathered, self._pieces)
            if is_exhausted:
                self._pieces = None
            if piece:
                return piece

    def close(self) -> None:
        """Nothing is open between two reads."""

    async def _window(self) -> bytes:
        end = min(self._at + WINDOW_BYTES, self._info.size)
        try:
            async with asyncio.timeout(READ_SECONDS):
                block = await self._store.read_range(self._key, self._at, end, self._info.etag)
        except TimeoutError:
            raise StoreUnavailable(f"{self._key!r}: no answer within {READ_SECONDS:g} seconds") from None
        self._at = end
        return block


def _gathered(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Pieces put together up to a useful size, and whether they were the last.

    A hop between threads costs, and a million members of a byte each must not become a million pieces.
    """
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            return b"".join(parts), False
    return b"".join(parts), True


class RowGroup:
    """The rows of one row group, what a reading looks at, in batches. After an error it has to be begun again."""

    resumable = False
    ended = False

    def __init__(self, file: RangedFile, rows: "Iterator[pa.RecordBatch]", threads: Executor) -> None:
        self._file = file
        self._rows: Iterator[pa.RecordBatch] = rows
        self._ahead: pa.RecordBatch | None = None
        self._threads = threads

    @classmethod
    async def open(
        cls,
        store: ObjectStore,
        key: str,
        etag: str,
        *,
        row_group: int,
        reading: Reading,
        threads: Executor,
        limits: Limits = DEFAULT_LIMITS,
    ) -> "RowGroup":
        """Row group *row_group* of the version *etag*, from its first row.

        Raises:
            StoreError: The object is not there, or is another version by now.
        """
        file = await open_ranged(store, key, etag, seconds=READ_SECONDS)
        return cls(file, batches(file, row_group, reading, limits), threads)

    async def next(self) -> "pa.RecordBatch | None":
        """The next batch.

        Raises:
            StoreError: The object cannot be read.
            UnreadableParquet: It is damaged.
            LimitViolated: It is more than it may be.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read)

    def close(self) -> None:
        """A read of the thread that may be at it fails, and its batches go with it."""
        self._file.close()
        self._rows = iter(())
        self._ahead = None

    def _read(self) -> "pa.RecordBatch | None":
        """Reads one batch ahead, to know the last one: what reads a row group holds a megabyte for each column."""
        rows = self._rows
        batch = self._ahead if self._ahead is not None else next(rows, None)
        self._ahead = next(rows, None)
        self.ended = self._ahead is None
        return batch
