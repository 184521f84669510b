"""What a line-separated file is cut into, and the bookkeeping every cutter shares. Pure: it keeps counters.

A cutter is fed a file's bytes in blocks of any size and hands out items in order. The items do not depend on how the
bytes were split into blocks, nor on restarts: a cutter made from another one's `checkpoint` and fed the bytes from
there hands out exactly what that one would have handed out next.
"""

from dataclasses import dataclass
from typing import Protocol

MAX_LINE_BYTES = 1 << 20
"""The longest record, its line end not counted (a limit against bombs: such a line rejects the row, not the file)."""

MAX_CHUNK_BYTES = 8 << 20
"""The longest range: what a reader of a chunk holds in memory."""

BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r"


@dataclass(frozen=True)
class Chunk:
    """Bytes `start` to `end` hold `records` records, blank lines between them included.

    Decoded bytes where the file is compressed; with a `row_group`, rows (from 0) within it, in Parquet. `first_record`
    and `first_line` count from 1 within the file.
    """

    start: int
    end: int
    first_record: int
    first_line: int
    records: int
    row_group: int | None = None


@dataclass(frozen=True)
class TooLong:
    """A record that is in no chunk because it is longer than the limit."""

    record: int
    line: int


Item = Chunk | TooLong


@dataclass(frozen=True)
class Checkpoint:
    """Where a plan may go on: everything before `offset` is in items already handed out, or blank.

    `offset` is in the unit of the chunks: decoded bytes, or rows of the file in Parquet. `records` counts those in
    chunks and the `rejected` (too long) ones; `lines` counts blank ones too.
    """

    offset: int = 0
    records: int = 0
    lines: int = 0
    chunks: int = 0
    rejected: int = 0


START = Checkpoint()
"""The beginning of a file."""


class Cutter(Protocol):
    """Cuts one file. `feed` raises `LimitViolated` where reading on would cost more than the file is worth."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The state after the last item that was handed out. Persist it together with those items."""
        ...

    def feed(self, block: bytes) -> list[Item]:
        """Takes the next bytes; returns the items that became certain."""
        ...

    def finish(self) -> list[Item]:
        """Ends the file; returns the remaining items. The checkpoint is then the end of the file."""
        ...


class OpenChunk:
    """Collects records into chunks; a cutter tells it of each record and of each blank line, in order."""

    def __init__(self, checkpoint: Checkpoint, *, max_records: int, max_line: int, max_chunk_bytes: int) -> None:
        if max_records < 1 or not 0 < max_line < max_chunk_bytes:
            raise ValueError("a chunk holds at least one record, and more bytes than the longest line")
        self.checkpoint = checkpoint
        self.lines = checkpoint.lines
        self._records = checkpoint.records
        self._max_records = max_records
        self._max_line = max_line
        self._max_chunk_bytes = max_chunk_bytes
        # The open chunk; it has none of these while it holds no record.
        self._start = self._end = 0
        self._first_line = self._last_line = 0
        self._count = 0
        self._items: list[Item] = []

    def add(self, start: int, content_end: int, end: int, lines: int = 1) -> None:
        """A record of *lines* lines from *start* to *end*, its line end from *content_end* on included."""
        first_line = self.lines + 1
        self.lines += lines
        if content_end - start > self._max_line:
            self._reject(first_line, end)
            return
        if self._count and end - self._start > self._max_chunk_bytes:
            self.close()
        if not self._count:
            self._start, self._first_line = start, first_line
        self._records += 1
        self._count += 1
        self._end, self._last_line = end, self.lines
        if self._count == self._max_records:
            self.close()

    def reject(self, end: int) -> None:
        """A record of one line up to *end* that is to be in no chunk."""
        self.lines += 1
        self._reject(self.lines, end)

    def _reject(self, line: int, end: int) -> None:
        self.close()
        self._records += 1
        self._items.append(TooLong(record=self._records, line=line))
        done = self.checkpoint
        self.checkpoint = Checkpoint(end, self._records, self.lines, done.chunks, done.rejected + 1)

    def close(self) -> None:
        """Hands out the open chunk: from its first record's line to its last one's."""
        if not self._count:
            return
        first_record = self._records - self._count + 1
        self._items.append(Chunk(self._start, self._end, first_record, self._first_line, self._count))
        self._count = 0
        done = self.checkpoint
        self.checkpoint = Checkpoint(self._end, self._records, self._last_line, done.chunks + 1, done.rejected)

    def finish(self, position: int) -> list[Item]:
        """The last items of a file that ends at *position*."""
        self.close()
        done = self.checkpoint
        self.checkpoint = Checkpoint(position, self._records, self.lines, done.chunks, done.rejected)
        return self.take()

    def take(self) -> list[Item]:
        """The items that were completed since the last call."""
        items, self._items = self._items, []
        return items
