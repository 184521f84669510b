"""An object as a file for a library that reads files: blocking, seekable, in a worker thread, by ranges.

Libraries read in small pieces wherever they like, and S3 takes as long for four kilobytes as for a quarter megabyte. So
small reads are served from aligned blocks, of which a few are kept; large ones go straight through.
"""

import asyncio
import io
from collections import OrderedDict
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from typing_extensions import override

from connector.objects.errors import ObjectChanged, StoreUnavailable
from connector.objects.store import MAX_RANGE_BYTES, ObjectInfo, ObjectStore, unquoted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 256 << 10
"""What a small read asks the store for."""

KEPT_BLOCKS = 16
"""Blocks that are kept: 4 MiB per open file."""


class RangedFile(io.RawIOBase):
    """A version of an object, open for reading. Made on the event loop, used in one other thread at a time.

    Its methods raise the errors of the store. No read waits longer than *seconds*. `asked` counts those that reached
    the store.
    """

    def __init__(self, store: ObjectStore, key: str, info: ObjectInfo, *, seconds: float) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._etag = info.etag
        self._size = info.size
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.asked = 0

    @override
    def readable(self) -> bool:
        """Yes."""
        return True

    @override
    def seekable(self) -> bool:
        """Yes."""
        return True

    @override
    def tell(self) -> int:
        """The position of the next read."""
        return self._at

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves the position of the next read; returns it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning of the file")
        self._at = base + offset
        return self._at

    @override
    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fills *buffer* as far as the file goes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        """The next *size* bytes, less at the end of the file.

        Raises:
            OSError: They are more than one read may hold: a damaged file asks for anything.
            StoreError: The store cannot give them.
        """
        rest = max(self._size - self._at, 0)
        wanted = rest if size is None or size < 0 else min(size, rest)
        if not wanted:
            return b""
        if wanted > MAX_RANGE_BYTES:
            raise OSError(f"a read of {wanted} bytes; at most {MAX_RANGE_BYTES} are read at once")
        start, end = self._at, self._at + wanted
        self._at = end
        return self._fetched(start, end) if wanted >= BLOCK_BYTES else self._from_blocks(start, end)

    @override
    def close(self) -> None:
        """Forgets what is kept; a read fails from now on, also in a thread that is about to."""
        self._blocks.clear()
        super().close()

    def _from_blocks(self, start: int, end: int) -> bytes:
        numbers = range(start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1)
        joined = b"".join(self._block(number) for number in numbers)
        base = numbers[0] * BLOCK_BYTES
        return joined[start - base : end - base]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            start = number * BLOCK_BYTES
            block = self._fetched(start, min(start + BLOCK_BYTES, self._size))
            self._blocks[number] = block
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return block

    def _fetched(self, start: int, end: int) -> bytes:
        if self.closed or self._loop.is_closed():
            raise StoreUnavailable(f"{self._key!r} is read no longer")
        self.asked += 1
        reading = self._store.read_range(self._key, start, end, self._etag)
        answer = asyncio.run_coroutine_threadsafe(reading, self._loop)
        try:
            return answer.result(self._seconds)
        except TimeoutError:
            answer.cancel()
            raise StoreUnavailable(f"{self._key!r}: no answer within {self._seconds:g} seconds") from None
        except CancelledError:
            raise StoreUnavailable(f"{self._key!r}: reading was stopped") from None


async def open_ranged(store: ObjectStore, key: str, etag: str, *, seconds: float) -> RangedFile:
    """Opens the version *etag* of an object.

    Raises:
        StoreError: It is not there, or is another version by now.
    """
    info = await store.head(key)
    if info.etag != unquoted(etag):
        raise ObjectChanged(f"{key!r} is not the version that was planned")
    return RangedFile(store, key, info, seconds=seconds)
