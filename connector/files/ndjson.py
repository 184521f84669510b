"""Cuts a stream of NDJSON into chunk ranges. Pure: bytes in, ranges out; it keeps counters, never bytes.

What counts: a line ends with a line feed or with the file; a line of only spaces, tabs and carriage returns is a line
but not a record; a UTF-8 byte order mark before the first line belongs to no range. A record longer than `max_line` is
in no range either: it is told as `TooLong`, so that no reader has to hold it.
"""

from dataclasses import dataclass

from schemas.events import MAX_CHUNK_RECORDS

MAX_LINE_BYTES = 1 << 20
"""The longest record, its line end not counted (a limit against bombs: such a line rejects the row, not the file)."""

MAX_CHUNK_BYTES = 8 << 20
"""The longest range: what a reader of a chunk holds in memory."""

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"


@dataclass(frozen=True)
class Chunk:
    """Bytes `start` to `end` hold `records` records, blank lines between them included.

    `first_record` and `first_line` count from 1 within the file.
    """

    start: int
    end: int
    first_record: int
    first_line: int
    records: int


@dataclass(frozen=True)
class TooLong:
    """A record that is in no chunk because its line is longer than the limit."""

    record: int
    line: int


@dataclass(frozen=True)
class Checkpoint:
    """Where a plan may go on: everything before `offset` is in items already handed out, or blank.

    `records` counts those in chunks and the `rejected` (too long) ones; `lines` counts blank ones too.
    """

    offset: int = 0
    records: int = 0
    lines: int = 0
    chunks: int = 0
    rejected: int = 0


START = Checkpoint()
"""The beginning of a file."""


class NdjsonCutter:
    """Fed a file's bytes from `checkpoint.offset` on, in blocks of any size, it hands out the chunks in order.

    The items do not depend on how the bytes were split into blocks, nor on restarts: a cutter made from `checkpoint`
    and fed the bytes from there hands out exactly what this one would have handed out next.
    """

    def __init__(
        self,
        checkpoint: Checkpoint = START,
        *,
        max_records: int = MAX_CHUNK_RECORDS,
        max_line: int = MAX_LINE_BYTES,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> None:
        if max_records < 1 or not 0 < max_line < max_chunk_bytes:
            raise ValueError("a chunk holds at least one record, and more bytes than the longest line")
        self._checkpoint = checkpoint
        self._max_records = max_records
        self._max_line = max_line
        self._max_chunk_bytes = max_chunk_bytes
        # The bytes that may still turn out to be a byte order mark; None once that is decided.
        self._head: bytes | None = b"" if checkpoint.offset == 0 else None
        self._position = checkpoint.offset
        self._line_start = checkpoint.offset
        self._line_is_blank = True
        self._lines = checkpoint.lines
        self._records = checkpoint.records
        # The open chunk; it has none of these while it holds no record.
        self._chunk_start = self._chunk_end = 0
        self._chunk_first_line = self._chunk_last_line = 0
        self._chunk_records = 0
        self._items: list[Chunk | TooLong] = []

    @property
    def checkpoint(self) -> Checkpoint:
        """The state after the last item that was handed out. Persist it together with those items."""
        return self._checkpoint

    def feed(self, block: bytes) -> list[Chunk | TooLong]:
        """Takes the next bytes; returns the items that became certain."""
        if self._head is not None:
            block = self._without_bom(block)
        base, at, size = self._position, 0, len(block)
        self._position += size
        while at < size:
            newline = block.find(b"\n", at)
            end = newline if newline >= 0 else size
            # A record starts with `{`: only a line that starts with white space needs the second, slower look.
            if self._line_is_blank and end > at and (block[at] > 0x20 or block[at:end].strip(_BLANK)):
                self._line_is_blank = False
            if newline < 0:
                break
            self._end_line(base + newline, base + newline + 1)
            at = newline + 1
        return self._take_items()

    def finish(self) -> list[Chunk | TooLong]:
        """Ends the file; returns the remaining items. The checkpoint is then the end of the file."""
        if self._head is not None:
            head, self._head = self._head, None
            self.feed(head)
        if self._position > self._line_start:
            self._end_line(self._position, self._position)
        self._close_chunk()
        items = self._take_items()
        done = self._checkpoint
        self._checkpoint = Checkpoint(self._position, self._records, self._lines, done.chunks, done.rejected)
        return items

    def _without_bom(self, block: bytes) -> bytes:
        """The bytes to go on with; none until three have arrived, since a block may end within the mark."""
        head = (self._head or b"") + block
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        if head.startswith(_BOM):
            self._position = self._line_start = len(_BOM)
            return head[len(_BOM) :]
        return head

    def _end_line(self, content_end: int, end: int) -> None:
        """Counts the line that ends at *end*, its line feed included, and puts its record where it belongs."""
        start, self._line_start = self._line_start, end
        self._lines += 1
        if self._line_is_blank:
            return
        self._line_is_blank = True
        if content_end - start > self._max_line:
            self._reject_line(end)
            return
        if self._chunk_records and end - self._chunk_start > self._max_chunk_bytes:
            self._close_chunk()
        if not self._chunk_records:
            self._chunk_start, self._chunk_first_line = start, self._lines
        self._records += 1
        self._chunk_records += 1
        self._chunk_end, self._chunk_last_line = end, self._lines
        if self._chunk_records == self._max_records:
            self._close_chunk()

    def _reject_line(self, end: int) -> None:
        self._close_chunk()
        self._records += 1
        self._items.append(TooLong(record=self._records, line=self._lines))
        done = self._checkpoint
        self._checkpoint = Checkpoint(end, self._records, self._lines, done.chunks, done.rejected + 1)

    def _close_chunk(self) -> None:
        """Hands out the open chunk: from its first record's line to its last one's."""
        if not self._chunk_records:
            return
        self._items.append(
            Chunk(
                start=self._chunk_start,
                end=self._chunk_end,
                first_record=self._records - self._chunk_records + 1,
                first_line=self._chunk_first_line,
                records=self._chunk_records,
            )
        )
        self._chunk_records = 0
        done = self._checkpoint
        self._checkpoint = Checkpoint(
            self._chunk_end, self._records, self._chunk_last_line, done.chunks + 1, done.rejected
        )

    def _take_items(self) -> list[Chunk | TooLong]:
        items, self._items = self._items, []
        return items
