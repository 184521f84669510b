"""The first records of a file, prepared for the preflight: what `fbc preview` shows and a delivery runs."""

from collections.abc import Callable

import polars as pl

from connector.audience.layouts import Reading
from connector.audience.preflight import Part
from connector.audience.prepare import prepare
from connector.audience.reasons import RowReason
from connector.audience.records import LINE, RECORD, Records, RowReject
from connector.files.cutting import TooLong
from connector.files.heads import Piece

Read = Callable[[Piece], Records]
"""Reads a piece in the format of its file."""


def part_of(item: Piece | TooLong, read: Read, reading: Reading, *, this_year: int, value_based: bool = False) -> Part:
    """What `Head` hands out, as the preflight takes it. CPU only: run it in a thread."""
    records = _too_long(item, reading) if isinstance(item, TooLong) else read(item)
    return part(records, reading, this_year=this_year, value_based=value_based)


def part(records: Records, reading: Reading, *, this_year: int, value_based: bool = False) -> Part:
    """Records of any format, as the preflight takes them."""
    return Part(records, prepare(records, reading, this_year=this_year, value_based=value_based, detailed=True))


def _too_long(item: TooLong, reading: Reading) -> Records:
    schema = {RECORD: pl.Int64(), LINE: pl.Int64(), **dict.fromkeys(reading.columns, pl.String())}
    reject = RowReject(item.record, item.line, RowReason.LINE_TOO_LONG)
    return Records(count=1, frame=pl.DataFrame(schema=schema), rejects=(reject,))
