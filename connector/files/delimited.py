"""CSV and TSV: cutting a file into chunk ranges, and reading the lines of a chunk. Pure.

Where a record ends is told in `lexing`. The header is the file's first record and counted as none.
"""

import re
from functools import lru_cache

import polars as pl

from connector.audience.layouts import Reading
from connector.audience.reasons import RowReason
from connector.audience.records import LINE, RECORD, Records, RowReject, table_records
from connector.files.cutting import (
    BLANK,
    BLANK_LINES,
    BOM,
    MAX_BLANK,
    MAX_CHUNK_BYTES,
    MAX_LINE_BYTES,
    START,
    Checkpoint,
    Item,
    OpenChunk,
)
from connector.files.lexing import Lexer, Skipped, Span
from connector.files.limits import LimitViolated
from connector.files.sound_table import read_sound
from schemas.events import MAX_CHUNK_RECORDS, Table

_FREE_REREADING = 32 << 20
_REREADING = 4
# Bytes read in vain behind open quotes: so many, and so many per byte of the file, are forgiven. A file of nothing else
# would cost the square of its size; one that is only damaged comes nowhere near.


class DelimitedCutter:
    """The `Cutter` of CSV and TSV. It holds the bytes of the one record whose end it does not know yet."""

    def __init__(
        self,
        checkpoint: Checkpoint = START,
        *,
        delimiter: str,
        max_records: int = MAX_CHUNK_RECORDS,
        max_line: int = MAX_LINE_BYTES,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> None:
        self._open = OpenChunk(checkpoint, max_records=max_records, max_line=max_line, max_chunk_bytes=max_chunk_bytes)
        self._max_line = max_line
        self._lexer = Lexer(delimiter, max_line)
        self._start = self._position = checkpoint.offset
        self._needs_header = self._needs_bom = checkpoint.offset == 0
        self._pending = b""
        self._is_skipping = False

    @property
    def checkpoint(self) -> Checkpoint:
        """See `Cutter`."""
        return self._open.checkpoint

    def feed(self, block: bytes) -> list[Item]:
        """See `Cutter`."""
        self._read(block, is_end=False)
        return self._open.take()

    def finish(self) -> list[Item]:
        """See `Cutter`."""
        self._read(b"", is_end=True)
        return self._open.finish(self._position)

    def _read(self, block: bytes, *, is_end: bool) -> None:
        data = self._pending + block if self._pending else block
        if self._needs_bom:
            if len(data) < len(BOM) and BOM.startswith(data) and not is_end:
                self._pending = data
                return
            self._needs_bom = False
            if data.startswith(BOM):
                data, self._position = data[len(BOM) :], len(BOM)
        if self._is_skipping:
            data = self._skipped(data, is_end=is_end)
        base, at = self._position, 0
        if not self._needs_header and b'"' not in data:
            at = self._take_lines(base, data)
            base, data, self._position = base + at, data[at:], base + at
            at = 0
        for span in self._lexer.spans(data, is_end=is_end):
            if isinstance(span, Skipped):
                self._is_skipping, at = True, len(data)
                break
            self._take(base, span)
            at = span.end
            self._check(base + at)
        self._position += at
        self._pending = data[at:]
        if self._is_skipping and is_end:
            self._skipped(b"", is_end=True)

    def _take_lines(self, base: int, data: bytes) -> int:
        """Takes the whole lines of *data*, which has no quote, in a shorter way than `Lexer`; where they end."""
        at = 0
        add = self._open.add
        while (newline := data.find(b"\n", at)) >= 0:
            if data[at] <= 0x20 and self._max_line > MAX_BLANK and (blank := BLANK_LINES.match(data, at)):
                self._open.lines += data.count(b"\n", at, blank.end())
                at = blank.end()
                continue
            if newline > at and (data[at] > 0x20 or newline - at > self._max_line or data[at:newline].strip(BLANK)):
                add(base + at, base + newline, base + newline + 1)
            else:
                self._open.lines += 1
            at = newline + 1
        return at

    def _take(self, base: int, span: Span) -> None:
        if span.is_blank:
            self._open.lines += 1
        elif self._needs_header:
            self._needs_header = False
            self._open.lines += span.lines
        elif span.is_too_long:
            self._open.reject(base + span.end)
        else:
            self._open.add(base + span.start, base + span.content_end, base + span.end, span.lines)

    def _skipped(self, data: bytes, *, is_end: bool) -> bytes:
        """What is left of *data* after the line that is too long."""
        newline = data.find(b"\n")
        if newline < 0 and not is_end:
            self._position += len(data)
            return b""
        end = newline + 1 if newline >= 0 else len(data)
        self._position += end
        self._is_skipping = False
        self._take(self._position, Span(0, 0, 0, is_too_long=True))
        return data[end:]

    def _check(self, position: int) -> None:
        allowed = _FREE_REREADING + _REREADING * (position - self._start)
        if self._lexer.reread > allowed:
            raise LimitViolated("bytes_behind_open_quotes", allowed, self._lexer.reread)


def read_table(
    block: bytes,
    table: Table,
    reading: Reading,
    *,
    first_record: int,
    first_line: int,
    max_line: int = MAX_LINE_BYTES,
) -> Records:
    """Reads the lines of a chunk, which has no header. Never raises on what the bytes are.

    Counts what `DelimitedCutter` counted. A record of several lines has the number of its first one.
    """
    sound = read_sound(block, table, _names(table, reading), max_line)
    if sound is None:
        return _read_record_by_record(block, table, reading, (first_record, first_line), max_line)
    numbers = (
        pl.int_range(first_record, first_record + sound.height, dtype=pl.Int64, eager=True).alias(RECORD),
        pl.int_range(first_line, first_line + sound.height, dtype=pl.Int64, eager=True).alias(LINE),
    )
    return table_records(sound.with_columns(numbers), reading, count=sound.height)


def _names(table: Table, reading: Reading) -> dict[int, str]:
    """What the columns of the file that are read are called in the frame, by place."""
    return {place: name for place, name in zip(table.positions, reading.columns, strict=True) if place is not None}


def _read_record_by_record(
    block: bytes, table: Table, reading: Reading, first: tuple[int, int], max_line: int
) -> Records:
    names = _names(table, reading)
    kept: list[tuple[int, int]] = []
    cells: dict[int, list[str | None]] = {place: [] for place in names}
    rejects: list[RowReject] = []
    first_record, line = first
    record = first_record - 1
    for span in Lexer(table.delimiter, max_line).spans(block, is_end=True):
        if isinstance(span, Skipped):
            record += 1
            rejects.append(RowReject(record, line, RowReason.LINE_TOO_LONG))
            break
        if not span.is_blank:
            record += 1
            fields = _fields(block, span, table)
            if isinstance(fields, RowReason):
                rejects.append(RowReject(record, line, fields))
            else:
                kept.append((record, line))
                for place, column in cells.items():
                    column.append(fields[place] or None)
        line += span.lines
    columns = [pl.Series(names[place], column, dtype=pl.String) for place, column in cells.items()]
    frame = pl.DataFrame(
        [
            pl.Series(RECORD, [entry[0] for entry in kept], dtype=pl.Int64),
            pl.Series(LINE, [entry[1] for entry in kept], dtype=pl.Int64),
            *columns,
        ]
    )
    return table_records(frame, reading, count=record - first_record + 1, rejects=tuple(rejects))


def _fields(block: bytes, span: Span, table: Table) -> list[str] | RowReason:
    if span.is_too_long:
        return RowReason.LINE_TOO_LONG
    if not span.is_sound:
        return RowReason.MALFORMED_QUOTES
    content = block[span.start : span.content_end].removesuffix(b"\r")
    if b"\0" in content:
        return RowReason.NUL
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return RowReason.INVALID_UTF8
    fields = fields_of(text, table.delimiter)
    return fields if len(fields) == table.width else RowReason.WRONG_WIDTH


def fields_of(record: str, delimiter: str) -> list[str]:
    """The values of a sound record without its line end."""
    if '"' not in record:
        return record.split(delimiter)
    return [quoted.replace('""', '"') if quoted else plain for quoted, plain in _field(delimiter).findall(record)]


@lru_cache(maxsize=32)
def _field(delimiter: str) -> re.Pattern[str]:
    d = re.escape(delimiter)
    return re.compile(rf'(?:\A|{d})(?:"([^"]*+(?:""[^"]*+)*+)"|(?!")([^{d}]*+))')
