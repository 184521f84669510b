"""Looks at the header of every page of a Parquet file before Arrow does: what it would make room for is counted first.

Arrow decompresses a page whole, as large as its header says: a file of 20 KB takes gigabytes before the first value of
it can be counted. The footer's own sizes are no help, since nobody holds them against the pages. So the file object
Arrow reads from follows the pages by their headers as their bytes come by; nothing is read twice for it.

Source: Apache Parquet, parquet.thrift (`PageHeader`). Pure but for the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from connector.files.limits import check
from connector.files.parquet_damage import UnreadableParquet
from connector.files.thrift import Compact

MAX_PAGE_BYTES = 64 << 20
"""What the largest pages of all columns that are read may come to. Writers make pages of 1 MiB, DuckDB one for each
column and 122,880 rows: 8 MB of hashes."""

BATCH_ROWS = 1_024
"""Rows that are read at once; pages that begin within them are in memory together."""

CAREFUL_ROWS = 4
"""Rows that are read at once where each of them may take as much as a page."""

MAX_PAGES = 1_000_000
"""Pages of a row group; each costs some microseconds, empty ones too."""

MAX_HEADER_BYTES = 1 << 20
"""The longest page header; it may hold the smallest and the largest value of the page."""

_DICTIONARY_PAGE = 2
_DELTA_LENGTH, _DELTA = 6, 7

_ENTRY_BYTES = 64
"""What an entry of a dictionary is counted as besides its bytes: where Arrow keeps it, and how it finds it again."""

_LENGTHS_BYTES = 8
"""What Arrow makes room for per value of a page of delta encoding before it decodes the first: two lengths."""


_NOWHERE = ((), ())
_PLACES = {0: ((5, 1), (5, 2)), _DICTIONARY_PAGE: ((7, 1), (7, 2)), 3: ((8, 1), (8, 4))}
"""Where the header of each kind of page has its number of values and their encoding."""


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
    """What a page says of itself.

    Attributes:
        length: Bytes of the header itself.
        stored: Bytes that follow it.
        size: What they decompress to.
        values: How many there are, nulls among them.
        encoding: As parquet.thrift numbers them.
        is_dictionary: Whether the values are those that others refer to.
    """

    length: int
    stored: int
    size: int
    values: int
    encoding: int
    is_dictionary: bool


@dataclass(frozen=True)
class Chunk:
    """What the footer says of one column in one row group.

    Attributes:
        encodings: Of its pages, as parquet.thrift numbers them.
        size: What its pages decompress to.
        stored: Their bytes in the file.
        data_page: Where the first page with values begins.
        dictionary_page: Where the dictionary begins, if there is one.
        is_encrypted: Whether it needs a key, the rest of the footer being plain.
    """

    encodings: frozenset[int]
    size: int
    stored: int
    data_page: int
    dictionary_page: int | None
    is_encrypted: bool


class CutShort(Exception):
    """Raised where a header goes on after the bytes at hand."""


def page_header(data: bytes, at: int = 0) -> PageHeader:
    """The header that begins at *at* of *data*.

    Raises:
        CutShort: It does not end within *data*, nor within the longest header.
        UnreadableParquet: It is none.
    """
    thrift = Compact(data, at, at + MAX_HEADER_BYTES)
    try:
        fields = thrift.integers()
    except IndexError:
        raise CutShort from None
    kind, size, stored = (fields.get((number,), -1) for number in (1, 2, 3))
    values, encoding = (fields.get(place, 0) for place in _PLACES.get(kind, _NOWHERE))
    if min(kind, size, stored, values) < 0:
        raise UnreadableParquet("damaged")
    return PageHeader(thrift.at - at, stored, size, values, encoding, is_dictionary=kind == _DICTIONARY_PAGE)


class _Column:
    """The pages of one column chunk.

    Attributes:
        largest: What its pages take, at most, while `BATCH_ROWS` rows are read.
        pages: How many there were so far.
        size: What all of them decompress to.
    """

    def __init__(self, chunk: Chunk) -> None:
        # As Arrow does it.
        dictionary = chunk.dictionary_page or 0
        self._next = dictionary if 0 < dictionary < chunk.data_page else chunk.data_page
        self._end = self._next + chunk.stored
        self._begun = b""
        self._dictionary = self._values = self._longest = 0
        self._rows = self._batch = self._in_batch = 0
        self.has_delta = not chunk.encodings.isdisjoint((_DELTA_LENGTH, _DELTA))
        # Nobody looks into such a dictionary before rows are made of it, and delta encoding repeats what came before.
        self.is_careful = _DELTA in chunk.encodings or (self.has_delta and chunk.dictionary_page is not None)
        self.pages = self.size = 0

    @property
    def largest(self) -> int:
        return self._dictionary + self._values + CAREFUL_ROWS * self._longest

    def follow(self, start: int, data: bytes) -> None:
        """Takes the bytes of the file from *start* on, which may be of other places or have been seen before."""
        while (at := self._next + len(self._begun)) < min(self._end, start + len(data)):
            if at < start:
                if start < self._end:
                    raise UnreadableParquet("damaged")  # read past a header that nobody has looked at
                return
            try:
                page = self._header(data, at - start)
            except CutShort:
                self._begun += data[at - start : at - start + MAX_HEADER_BYTES]
                check("parquet_page_header_bytes", MAX_HEADER_BYTES - 1, len(self._begun))
                if start + len(data) >= self._end:
                    raise UnreadableParquet("damaged") from None
                return
            self._begun = b""
            self._next += page.length + page.stored
            self._count(page)

    def _header(self, data: bytes, at: int) -> PageHeader:
        if not self._begun:
            return page_header(data, at)
        return page_header(self._begun + data[at : at + MAX_HEADER_BYTES])

    def _count(self, page: PageHeader) -> None:
        size = max(page.size, page.stored)
        self.pages += 1
        self.size += size
        if page.is_dictionary:
            # Arrow takes a dictionary wherever it comes; who measured the column by its first page has not seen it.
            if self._rows or (self.has_delta and not self.is_careful):
                raise UnreadableParquet("damaged")
            self._dictionary = max(self._dictionary, size + _ENTRY_BYTES * page.values)
            if self.is_careful:
                self._longest = max(self._longest, size)
            return
        if page.encoding == _DELTA:
            if not self.is_careful:
                raise UnreadableParquet("damaged")
            self._longest = max(self._longest, size)
        if page.encoding in (_DELTA_LENGTH, _DELTA):
            size += _LENGTHS_BYTES * page.values
        batch = self._rows // BATCH_ROWS
        self._in_batch = size + (self._in_batch if batch == self._batch else 0)
        self._batch = batch
        self._values = max(self._values, self._in_batch)
        self._rows += page.values


class WatchedFile:
    """*file* for Arrow to read; from `watch` on, no page of a row group gets to it that takes more than there is room.

    *most* is the room for what of all columns is in memory together, *row_group* for what all pages decompress to. The
    methods raise what those of *file* raise, and `read` besides:

    Raises:
        LimitViolated: The pages are more than they may be.
        UnreadableParquet: What stands where a page begins is none.
    """

    closed = False

    def __init__(self, file: Seekable, row_group: int, most: int = MAX_PAGE_BYTES) -> None:
        self._file = file
        self._most = most
        self._row_group = row_group
        self._at = file.seek(0)
        self._columns: dict[str, _Column] = {}

    def watch(self, chunks: Mapping[str, Chunk]) -> None:
        """Begins to watch the pages of *chunks*, by the names of their columns."""
        self._columns = {name: _Column(chunk) for name, chunk in chunks.items()}

    @property
    def is_careful(self) -> bool:
        """Whether a row of any column may take as much as a page, so that `CAREFUL_ROWS` are to be read at once."""
        return any(column.is_careful for column in self._columns.values())

    def has_delta(self, name: str) -> bool:
        """Whether the column called *name* has pages that Arrow cannot read as dictionaries."""
        return self._columns[name].has_delta

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
        columns = self._columns.values()
        for column in columns:
            column.follow(start, data)
        check("parquet_page_bytes", self._most, sum(column.largest for column in columns))
        check("row_group_bytes", self._row_group, sum(column.size for column in columns))
        check("parquet_pages", MAX_PAGES, sum(column.pages for column in columns))
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
