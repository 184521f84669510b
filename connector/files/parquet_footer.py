"""Looks at the footer of a Parquet file before Arrow does: what it would make room for is counted first.

Arrow makes room for a list as long as it says it is, before it reads an element: a footer of 28 bytes took 10 GiB,
measured. And an element of a few bytes becomes hundreds in memory. So the lists are counted, by how deep they lie.

Source: Apache Parquet, parquet.thrift (`FileMetaData`). Pure.
"""

from typing_extensions import override

from connector.files.limits import check
from connector.files.parquet_damage import UnreadableParquet
from connector.files.thrift import STRUCT, Compact

MAX_FOOTER_BYTES = 16 << 20
"""The longest footer."""

MAX_ROW_GROUPS = 20_000
"""Row groups of a file; as many schema elements, and key-value pairs."""

MAX_COLUMN_CHUNKS = 50_000
"""Columns of all row groups: 256 columns in 195 of them. One takes up to 2 KB in memory."""

MAX_ELEMENTS = 1_000_000
"""Elements of all other lists: encodings, the steps of a path. One takes up to 32 bytes."""


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
