"""Where the records of CSV and TSV end: one answer for the planner and for the reader of a chunk. Pure.

A quoted field begins with a quote right after a delimiter or a line end; it may hold delimiters, line ends and doubled
quotes, and ends with a quote right before a delimiter or a line end. A quote anywhere else is text (`5" nails`). A line
of only spaces, tabs and carriage returns is a line but not a record. The first record is the header and no record.

A quote that is never closed must not swallow the people after it. Where a quoted field ends in the middle of text, does
not end within the longest record, or not within the file, its record is the first of its lines, and the next record
begins on the next line. Reader and planner agree on that although the reader sees one chunk only: a record the chunk
does not end is for both one line. What does not fit the longest record is in no chunk, as everywhere.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from connector.files.cutting import BLANK, MAX_LINE_BYTES


class Span(NamedTuple):
    """Where one record lies in the bytes at hand: from `start`, its content to `content_end`, its line end to `end`.

    `is_sound` is false where its quotes are not; `is_too_long` where it is longer than the longest record, and then it
    is only the first line of what was meant.
    """

    start: int
    content_end: int
    end: int
    lines: int = 1
    is_sound: bool = True
    is_too_long: bool = False
    is_blank: bool = False


@dataclass(frozen=True)
class Skipped:
    """The bytes at hand from `start` on are the beginning of a line that is too long; its end is not among them."""

    start: int


class Lexer:
    """Finds the ends of records. `reread` counts the bytes that were read in vain behind quotes left open."""

    def __init__(self, delimiter: str, max_line: int = MAX_LINE_BYTES) -> None:
        self._delimiter = delimiter.encode()[0]
        self._record, self._prefix = _patterns(delimiter)
        self._max_line = max_line
        self.reread = 0

    def spans(self, data: bytes, *, is_end: bool) -> Iterator[Span | Skipped]:
        """The records of *data*, which begins with one; blank lines too. *is_end*: nothing comes after it.

        The last record is left out where only later bytes tell its end.
        """
        at, size = 0, len(data)
        quote = data.find(b'"')
        while at < size:
            newline = data.find(b"\n", at)
            if 0 <= quote < at:
                quote = data.find(b'"', at)
            span: Span | Skipped | None
            if newline >= 0 and not 0 <= quote < newline:
                span = self._line(data, at, newline, newline + 1)
            elif newline < 0 and quote < 0 and is_end:
                span = self._line(data, at, size, size)
            elif newline < 0 and quote < 0:
                span = Skipped(at) if self._is_over(data, at) else None
            else:
                span = self._quoted(data, at, newline, is_end=is_end)
            if span is None:
                return
            yield span
            if isinstance(span, Skipped):
                return
            at = span.end

    def _line(self, data: bytes, at: int, content_end: int, end: int, *, is_sound: bool = True) -> Span:
        if content_end - at > self._max_line:
            return Span(at, content_end, end, is_sound=is_sound, is_too_long=True)
        is_blank = content_end == at or (data[at] <= 0x20 and not data[at:content_end].strip(BLANK))
        return Span(at, content_end, end, is_sound=is_sound, is_blank=is_blank)

    def _quoted(self, data: bytes, at: int, newline: int, *, is_end: bool) -> Span | Skipped | None:
        """The record at *at*, whose first line has a quote and ends at *newline* (-1: not in *data*)."""
        # Two more than the longest record: what ends it may be a carriage return and a line feed.
        stop = min(len(data), at + self._max_line + 3)
        is_end = is_end and stop == len(data)
        whole = self._record.match(data, at, stop)
        if whole is not None and (is_end or data[whole.end() - 1] == 0x0A):
            end = whole.end()
            content_end = end - 1 if data[end - 1] == 0x0A else end
            if content_end - at <= self._max_line:
                return Span(at, content_end, end, 1 + data.count(b"\n", at, content_end))
            return self._too_long(at, newline, stop)
        if whole is None:
            failed = self._text_after_quote(data, at, stop)
            if failed is not None and failed - at <= self._max_line:
                return self._first_line(data, at, newline, failed, is_end=is_end)
            if failed is None and is_end and stop - at <= self._max_line:
                return self._first_line(data, at, newline, stop, is_end=is_end)
        if self._is_over(data, at) or is_end:
            return self._too_long(at, newline, stop)
        return None

    def _text_after_quote(self, data: bytes, at: int, stop: int) -> int | None:
        """Where text follows a closing quote; None where a quote is left open."""
        prefix = self._prefix.match(data, at, stop)
        if prefix is None or data[prefix.end()] == self._delimiter:
            return None
        return prefix.end()

    def _first_line(self, data: bytes, at: int, newline: int, read: int, *, is_end: bool) -> Span | Skipped | None:
        if newline < 0 and not is_end:
            return Skipped(at) if self._is_over(data, at) else None
        self.reread += max(0, read - newline) if newline >= 0 else 0
        content_end, end = (newline, newline + 1) if newline >= 0 else (len(data), len(data))
        return self._line(data, at, content_end, end, is_sound=False)

    def _too_long(self, at: int, newline: int, read: int) -> Span | Skipped:
        if newline < 0:
            return Skipped(at)
        self.reread += max(0, read - newline)
        return Span(at, newline, newline + 1, is_sound=False, is_too_long=True)

    def _is_over(self, data: bytes, at: int) -> bool:
        return len(data) - at > self._max_line + 2


@lru_cache(maxsize=32)
def _patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """A record with its line end, and as many sound fields as there are. Possessive: each byte is read once."""
    d = re.escape(delimiter.encode())
    field = rb'(?:"[^"]*+(?:""[^"]*+)*+"(?:\r(?=\n|\Z))?|(?!")[^%b\n]*+)' % d
    fields = rb"%b(?:%b%b)*+" % (field, d, field)
    return re.compile(rb"%b(?:\n|\Z)" % fields), re.compile(fields)
