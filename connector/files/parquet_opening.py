"""Opens a Parquet file, once its end was looked at: what Arrow would make room for is counted first.

Arrow makes room for a list as long as it says it is, before it reads an element: a footer of 28 bytes took 10 GiB,
measured. And an element of a few bytes becomes hundreds in memory. So the lists are counted, by how deep they lie.

Source: Apache Parquet, parquet.thrift (`FileMetaData`). Pure but for the file.
"""

from functools import lru_cache
from typing import Any

from typing_extensions import override

from connector.files.limits import check
from connector.files.parquet_damage import UnreadableParquet
from connector.files.parquet_pages import Chunk, Seekable
from connector.files.thrift import BINARY, I32, I64, LIST, MAX_NESTING, STRUCT, Compact

READ_BYTES = 256 << 10
"""What is held of the stored bytes of each column while it is read."""

MAX_FOOTER_BYTES = 16 << 20
"""The longest footer."""

MAX_ROW_GROUPS = 20_000
"""Row groups of a file; as many schema elements, and key-value pairs."""

MAX_COLUMN_CHUNKS = 50_000
"""Columns of all row groups: 256 columns in 195 of them. One takes up to 2 KB in memory."""

MAX_ELEMENTS = 1_000_000
"""Elements of all other lists: encodings, the steps of a path. One takes up to 32 bytes."""


_TAIL_BYTES = 8

_ENCRYPTION = (8, 9)
"""The fields of a column chunk that say how it is encrypted."""

_ELEMENTS: dict[tuple[int, ...], int] = {
    **dict.fromkeys([(2,), (4,), (5,), (7,), (4, 1), (4, 4), (4, 1, 3, 8), (4, 1, 3, 13)], STRUCT),
    **dict.fromkeys([(4, 1, 3, 2), (4, 1, 3, 17, 2)], I32),
    **dict.fromkeys([(4, 1, 3, 16, 2), (4, 1, 3, 16, 3)], I64),
    **dict.fromkeys([(4, 1, 3, 3), (4, 1, 8, 2, 1)], BINARY),
}
"""What the lists of a footer are of, by the numbers of the fields they lie within."""


def opened(file: Seekable) -> tuple[Any, tuple[tuple[Chunk, ...], ...]]:
    """Arrow's view of *file*, whose footer is held against the limits first, and the column chunks of its row groups.

    Those are ours, as Arrow's own account of one ends the process where the footer contradicts itself.

    Raises:
        UnreadableParquet: It does not end like a Parquet file, or is encrypted.
        LimitViolated: Its footer describes more than a file may have.
    """
    chunks = chunks_of(_footer_bytes(file))
    return reopened(file), chunks


def reopened(file: Seekable, **options: Any) -> Any:
    """The same with other *options*; with the metadata among them, the footer is not read again."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    # Arrow's own allocator keeps what each of several threads has freed: some 30 MiB more, measured.
    pa.set_memory_pool(pa.system_memory_pool())
    return ParquetFile(
        file,
        buffer_size=READ_BYTES,
        pre_buffer=False,
        page_checksum_verification=True,
        thrift_string_size_limit=MAX_FOOTER_BYTES,
        thrift_container_size_limit=MAX_ELEMENTS,
        **options,
    )


def _footer_bytes(file: Seekable) -> bytes:
    """The footer, found from the end of the file: its length and a magic come after it."""
    size = file.seek(0, 2)
    if size < _TAIL_BYTES:
        raise UnreadableParquet("not_parquet")
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    if tail[4:] == b"PARE":
        raise UnreadableParquet("encrypted")
    if tail[4:] != b"PAR1":
        raise UnreadableParquet("not_parquet")
    length = int.from_bytes(tail[:4], "little")
    check("parquet_footer_bytes", MAX_FOOTER_BYTES, length)
    if length > size - _TAIL_BYTES:
        raise UnreadableParquet("damaged")
    file.seek(size - _TAIL_BYTES - length)
    return file.read(length)


@lru_cache(maxsize=2)
def chunks_of(footer: bytes) -> tuple[tuple[Chunk, ...], ...]:
    """The column chunks of each row group, of a *footer* that is held against the limits.

    Those of the last files are remembered: each row group is read by itself, and some files have thousands.

    Raises:
        UnreadableParquet: It is none.
        LimitViolated: It describes more than a file may have.
    """
    try:
        return _Footer(footer).row_groups()
    except IndexError:
        raise UnreadableParquet("damaged") from None


class _Footer(Compact):
    """Reads a footer; counts while it does."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._outer = self._column_chunks = self._others = 0

    def row_groups(self) -> tuple[tuple[Chunk, ...], ...]:
        found: tuple[tuple[Chunk, ...], ...] = ()
        for number, kind in self._fields():
            if (number, kind) == (4, LIST):
                found = tuple([self._row_group() for _ in range(self._elements()[1])])
            else:
                self._skip(kind, MAX_NESTING)
        return found

    def _row_group(self) -> tuple[Chunk, ...]:
        found: tuple[Chunk, ...] = ()
        for number, kind in self._fields():
            if (number, kind) == (1, LIST):
                found = tuple([self._column_chunk() for _ in range(self._elements()[1])])
            else:
                self._skip(kind, MAX_NESTING)
        return found

    def _column_chunk(self) -> Chunk:
        integers: dict[int, int] = {}
        encodings: frozenset[int] = frozenset()
        is_encrypted = False
        for number, kind in self._fields():
            is_encrypted |= number in _ENCRYPTION
            if (number, kind) != (3, STRUCT):
                self._skip(kind, MAX_NESTING)
                continue
            for field, field_kind in self._fields():
                if field_kind == I64:
                    integers[field] = self._signed(64)
                elif (field, field_kind) == (2, LIST):
                    encodings = frozenset([self._signed(32) for _ in range(self._elements()[1])])
                else:
                    self._skip(field_kind, MAX_NESTING)
        size, stored, data_page = (integers.get(field, 0) for field in (6, 7, 9))
        return Chunk(encodings, size, stored, data_page, integers.get(11), is_encrypted)

    @override
    def _list(self, kind: int, size: int) -> None:
        super()._list(kind, size)
        path = tuple(self._path)
        if size and _ELEMENTS.get(path, kind) != kind:
            raise UnreadableParquet("damaged")  # Thrift's readers would read what they expect
        if len(path) == 1:
            self._outer = max(self._outer, size)
            check("parquet_row_groups", MAX_ROW_GROUPS, self._outer)
        elif path == (4, 1):
            self._column_chunks += size
            check("parquet_column_chunks", MAX_COLUMN_CHUNKS, self._column_chunks)
        else:
            self._others += size
            check("parquet_footer_elements", MAX_ELEMENTS, self._others)
