"""Cuts a stream of NDJSON into chunk ranges. Pure: bytes in, ranges out; it keeps counters, never bytes.

What counts: a line ends with a line feed or with the file; a line of only spaces, tabs and carriage returns is a line
but not a record; a UTF-8 byte order mark before the first line belongs to no range. A record longer than `max_line` is
in no range either: it is told as `TooLong`, so that no reader has to hold it.
"""

from connector.files.cutting import (
    BLANK,
    BOM,
    MAX_CHUNK_BYTES,
    MAX_LINE_BYTES,
    START,
    Checkpoint,
    Item,
    OpenChunk,
)
from schemas.events import MAX_CHUNK_RECORDS


class NdjsonCutter:
    """The `Cutter` of NDJSON."""

    def __init__(
        self,
        checkpoint: Checkpoint = START,
        *,
        max_records: int = MAX_CHUNK_RECORDS,
        max_line: int = MAX_LINE_BYTES,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> None:
        self._open = OpenChunk(checkpoint, max_records=max_records, max_line=max_line, max_chunk_bytes=max_chunk_bytes)
        # The bytes that may still turn out to be a byte order mark; None once that is decided.
        self._head: bytes | None = b"" if checkpoint.offset == 0 else None
        self._position = checkpoint.offset
        self._line_start = checkpoint.offset
        self._line_is_blank = True

    @property
    def checkpoint(self) -> Checkpoint:
        """See `Cutter`."""
        return self._open.checkpoint

    def feed(self, block: bytes) -> list[Item]:
        """See `Cutter`."""
        if self._head is not None:
            block = self._without_bom(block)
        base, at, size = self._position, 0, len(block)
        self._position += size
        while at < size:
            newline = block.find(b"\n", at)
            end = newline if newline >= 0 else size
            # A record starts with `{`: only a line that starts with white space needs the second, slower look.
            if self._line_is_blank and end > at and (block[at] > 0x20 or block[at:end].strip(BLANK)):
                self._line_is_blank = False
            if newline < 0:
                break
            self._end_line(base + newline, base + newline + 1)
            at = newline + 1
        return self._open.take()

    def finish(self) -> list[Item]:
        """See `Cutter`."""
        if self._head is not None:
            head, self._head = self._head, None
            self.feed(head)
        if self._position > self._line_start:
            self._end_line(self._position, self._position)
        return self._open.finish(self._position)

    def _without_bom(self, block: bytes) -> bytes:
        """The bytes to go on with; none until three have arrived, since a block may end within the mark."""
        head = (self._head or b"") + block
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        if head.startswith(BOM):
            self._position = self._line_start = len(BOM)
            return head[len(BOM) :]
        return head

    def _end_line(self, content_end: int, end: int) -> None:
        """Counts the line that ends at *end*, its line feed included."""
        start, self._line_start = self._line_start, end
        if self._line_is_blank:
            self._open.lines += 1
            return
        self._line_is_blank = True
        self._open.add(start, content_end, end)
