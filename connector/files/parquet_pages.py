"""Looks at the header of every page of a Parquet file before Arrow does: what it would make room for is counted first.

Arrow decompresses a page whole, as large as its header says: a file of 20 KB takes gigabytes before the first value of
it can be counted. The footer's own sizes are no help, since nobody holds them against the pages. So the file object
Arrow reads from follows the pages by their headers as their bytes come by; nothing is read twice for it.

Source: Apache Parquet, parquet.thrift (`PageHeader`). Pure but for the file.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from connector.files.limits import check
from connector.files.parquet_damage import UnreadableParquet
from connector.files.thrift import Compact

MAX_PAGE_BYTES = 64 << 20
"""What the largest pages of all columns that are read may come to. Writers make pages of 1 MiB, DuckDB one for each
column and 122,880 rows: 8 MB of hashes."""

MAX_HEADER_BYTES = 1 << 20
"""The longest page header; it may hold the smallest and the largest value of the page."""

_DICTIONARY_PAGE = 2


class Seekable(Protocol):
    """A file that is open for reading."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Moves the position of the next read; returns it."""
        ...

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...


@dataclass(frozen=True)
class PageHeader:
    """`length` is that of the header itself, `stored` the bytes that follow it, `size` what they decompress to."""

    length: int
    size: int
    stored: int
    is_dictionary: bool


class CutShort(Exception):
    """Raised where a header goes on after the bytes at hand."""


def page_header(data: bytes) -> PageHeader:
    """The header that *data* begins with.

    Raises:
        CutShort: It does not end within *data*.
        UnreadableParquet: It is none.
    """
    thrift = Compact(data)
    try:
        fields = thrift.integers()
    except IndexError:
        raise CutShort from None
    kind, size, stored = (fields.get(number, -1) for number in (1, 2, 3))
    if min(kind, size, stored) < 0:
        raise UnreadableParquet("damaged")
    return PageHeader(thrift.at, size, stored, is_dictionary=kind == _DICTIONARY_PAGE)


class _Column:
    """The pages of one column chunk, from `start` to `end`. `largest` is what its largest pages take."""

    def __init__(self, start: int, end: int) -> None:
        self._next = start
        self._end = end
        self._begun = b""
        self._dictionary = self._values = 0

    @property
    def largest(self) -> int:
        return self._dictionary + self._values

    def follow(self, start: int, data: bytes) -> None:
        """Takes the bytes of the file from *start* on, which may be of other places or have been seen before."""
        while (at := self._next + len(self._begun)) < min(self._end, start + len(data)):
            if at < start:
                if start < self._end:
                    raise UnreadableParquet("damaged")  # read past a header that nobody has looked at
                return
            head = self._begun + data[at - start : at - start + MAX_HEADER_BYTES]
            try:
                page = page_header(head)
            except CutShort:
                check("parquet_page_header_bytes", MAX_HEADER_BYTES, len(head))
                self._begun = head
                continue
            self._begun = b""
            self._next += page.length + page.stored
            size = max(page.size, page.stored)
            if page.is_dictionary:
                self._dictionary = max(self._dictionary, size)
            else:
                self._values = max(self._values, size)


class WatchedFile:
    """*file* for Arrow to read; from `watch` on, no page of a row group gets to it that takes more than there is room.

    Its methods raise what those of *file* raise, and `read` besides:

    Raises:
        LimitViolated: The largest pages of the columns together are more than they may be.
        UnreadableParquet: What stands where a page begins is none.
    """

    closed = False

    def __init__(self, file: Seekable, most: int = MAX_PAGE_BYTES) -> None:
        self._file = file
        self._most = most
        self._at = file.seek(0)
        self._columns: list[_Column] = []

    def watch(self, row_group: Any, names: Collection[str]) -> None:
        """Begins to watch the columns called *names*, and what is within them, of Arrow's metadata of a row group."""
        for number in range(row_group.num_columns):
            column = row_group.column(number)
            steps = column.path_in_schema.split(".")
            if any(".".join(steps[:depth]) in names for depth in range(1, len(steps) + 1)):
                start = column.data_page_offset
                if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
                    start = column.dictionary_page_offset
                self._columns.append(_Column(start, start + column.total_compressed_size))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As that of a file."""
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        """As that of a file."""
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """As that of a file."""
        start = self._at
        data = self._file.read(size)
        self._at += len(data)
        for column in self._columns:
            column.follow(start, data)
        check("parquet_page_bytes", self._most, sum(column.largest for column in self._columns))
        return data

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """No."""
        return False

    def close(self) -> None:
        """Nothing: who opened the file closes it."""
