"""Opens a Parquet file, once its end was looked at: what Arrow would make room for is counted first.

Arrow makes room for a list as long as it says it is, before it reads an element: a footer of 28 bytes took 10 GiB,
measured. And an element of a few bytes becomes hundreds in memory. So the lists are counted, by how deep they lie.

Source: Apache Parquet, parquet.thrift (`FileMetaData`). Pure but for the file.
"""

from typing import Any

from typing_extensions import override

from connector.files.limits import check
from connector.files.parquet_damage import UnreadableParquet
from connector.files.parquet_pages import Seekable
from connector.files.thrift import STRUCT, Compact

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


def opened(file: Seekable) -> Any:
    """Arrow's view of *file*, whose footer is held against the limits first.

    Raises:
        UnreadableParquet: It does not end like a Parquet file, or is encrypted.
        LimitViolated: Its footer describes more than a file may have.
    """
    _check_tail(file)
    return reopened(file)


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


def _check_tail(file: Seekable) -> None:
    """Looks at the end of the file before Arrow does: the footer, its length and a magic."""
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
    check_footer(file.read(length))
    file.seek(0)


def check_footer(data: bytes) -> None:
    """Holds the footer *data* against the limits.

    Raises:
        UnreadableParquet: It is none.
        LimitViolated: It describes more than a file may have.
    """
    try:
        _Footer(data).integers()
    except IndexError:
        raise UnreadableParquet("damaged") from None


class _Footer(Compact):
    """Counts while it passes over."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._outer = self._column_chunks = self._others = 0

    @override
    def _list(self, kind: int, size: int) -> None:
        super()._list(kind, size)
        if kind == STRUCT and self._depth == 0:
            self._outer = max(self._outer, size)
            check("parquet_row_groups", MAX_ROW_GROUPS, self._outer)
        elif kind == STRUCT and self._depth == 1:
            self._column_chunks += size
            check("parquet_column_chunks", MAX_COLUMN_CHUNKS, self._column_chunks)
        else:
            self._others += size
            check("parquet_footer_elements", MAX_ELEMENTS, self._others)
