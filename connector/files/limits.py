"""What a file may be, against bombs: a small file must not become a large one in memory, on disk or in the ledger.

Source of the defaults: OWASP ASVS 5.2.1 and 5.2.3 asks for such limits; the numbers are ours. `max_line` and the
nesting of a record (`records.MAX_DEPTH`) reject the row, all others the file.
"""

from dataclasses import dataclass

from connector.files.cutting import MAX_LINE_BYTES

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

MAX_COLUMNS = 256
"""Columns of a table; what `schemas.events.Table` can describe."""


@dataclass(frozen=True)
class Limits:
    """Bytes, but for `ratio`, `columns` and `rows`.

    Attributes:
        compressed: The longest compressed file.
        decoded: The longest file once decoded, plain files included.
        ratio: Decoded bytes per compressed byte, looked at once `ratio_from` bytes were decoded.
        window: What a zstd frame may ask its decoder to hold (RFC 8878 recommends to support 8 MiB).
        line: The longest record of a line-separated file.
        columns: Columns of a table.
        rows: Records of a file.
        row_group: The largest row group of a Parquet file, decoded.
    """

    compressed: int = 20 * GIB
    decoded: int = 50 * GIB
    ratio: int = 200
    ratio_from: int = 10 * MIB
    window: int = 8 * MIB
    line: int = MAX_LINE_BYTES
    columns: int = MAX_COLUMNS
    rows: int = 500_000_000
    row_group: int = 256 * MIB


DEFAULT_LIMITS = Limits()


class LimitViolated(Exception):
    """Raised where a file is more than it may be. *value* is what was counted when that was noticed."""

    def __init__(self, name: str, limit: int, value: int) -> None:
        super().__init__(f"the limit {name} is {limit:,}, the file has at least {value:,}")
        self.name = name
        self.limit = limit
        self.value = value


def check(name: str, limit: int, value: int) -> None:
    """Raises `LimitViolated` where *value* is above *limit*."""
    if value > limit:
        raise LimitViolated(name, limit, value)
