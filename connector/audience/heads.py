"""The first records of a file, prepared for the preflight: what `fbc preview` shows and a delivery runs.

Blocking: a service calls it in a thread, with a file that reads from its store.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import polars as pl

from connector.audience.layouts import Reading
from connector.audience.preflight import RECORDS, Part
from connector.audience.prepare import prepare
from connector.audience.reasons import RowReason
from connector.audience.records import LINE, RECORD, Records, RowReject
from connector.audience.records_ndjson import read_ndjson
from connector.files.cutting import MAX_LINE_BYTES, Checkpoint, Cutter, TooLong
from connector.files.decoding import decoder
from connector.files.delimited import DelimitedCutter, read_table
from connector.files.formats import MAGIC_BYTES, FileKind, Refusal, text_contradiction
from connector.files.header import table_of
from connector.files.heads import Head, Piece
from connector.files.limits import DEFAULT_LIMITS, Limits
from connector.files.ndjson import NdjsonCutter
from connector.files.parquet import batches, frame_records
from connector.files.parquet_footer import read_footer, refusal
from connector.files.parquet_pages import Seekable
from schemas.events import Compression, Format, Table

if TYPE_CHECKING:
    import pyarrow as pa


_BLOCK = 1 << 18


class Refused(Exception):
    """Raised where not one record of a file can be read, because of how it begins."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.message}: {refusal.advice}")
        self.refusal = refusal


@dataclass(frozen=True)
class Look:
    """What is looked at: *records* of them, read as *reading* says. *delimiter* is the mapping's, for CSV and TSV."""

    reading: Reading
    this_year: int
    records: int = RECORDS
    value_based: bool = False
    delimiter: str | None = None


@dataclass(frozen=True)
class _Lines:
    """How records are cut from text and read."""

    cutter: Callable[[Checkpoint, int], Cutter]
    read: Callable[[Piece], Records]


def parts_of(file: Seekable, kind: FileKind, look: Look, limits: Limits = DEFAULT_LIMITS) -> Iterator[Part]:
    """The first records of a *file* of any kind.

    Raises:
        Refused: Its header is missing, has none of the columns, or what it decodes to is no text.
        Corrupt: It is not of its compression.
        UnreadableParquet: It is damaged, encrypted or something else.
        LimitViolated: It is more than a file may be.
    """
    if kind.format is Format.PARQUET:
        return parquet_parts(file, look)
    return text_parts(_decoded(file, kind.compression, limits), kind.format, look)


def _decoded(file: Seekable, compression: Compression, limits: Limits) -> Iterator[bytes]:
    """What *file* decodes to, in blocks."""
    decoding = decoder(compression, limits)
    is_first = compression is not Compression.NONE
    while block := file.read(_BLOCK):
        for piece in decoding.feed(block):
            refused = text_contradiction(piece[:MAGIC_BYTES]) if is_first else None
            if refused is not None:
                raise Refused(refused)
            is_first = False
            yield piece
    decoding.finish()


def text_parts(blocks: Iterable[bytes], format_: Format, look: Look, *, is_whole: bool = True) -> Iterator[Part]:
    """The first records of a line-separated file, in pieces that fit into memory.

    Args:
        blocks: What the file decodes to, in blocks of any size; no more of them are taken than needed.
        format_: NDJSON, CSV or TSV.
        look: What is looked at.
        is_whole: The last block ends the file. Else the last record is left out, which may be half a one.

    Raises:
        Refused: There is no header, or it has none of the columns.
        LimitViolated: Reading on would cost more than the file is worth.
    """
    arriving = iter(blocks)
    # A header is looked for in as much as the longest record; NDJSON has none.
    beginning = b"" if format_ is Format.NDJSON else _longest_record(arriving)
    lines = _ndjson(look.reading) if format_ is Format.NDJSON else _delimited(beginning, format_, look)
    head = Head(lines.cutter, wanted=look.records)
    for item in _items(head, chain([beginning], arriving), is_whole=is_whole):
        yield _part(_too_long(item, look.reading) if isinstance(item, TooLong) else lines.read(item), look)


def parquet_parts(file: Seekable, look: Look) -> Iterator[Part]:
    """The first records of a Parquet file, one row group after the other, a few rows at a time.

    Raises:
        Refused: It has none of the columns.
        UnreadableParquet: It is damaged, encrypted or something else.
        LimitViolated: It is more than a file may be.
    """
    footer = read_footer(file)
    no_column = refusal(footer, look.reading)
    if no_column is not None:
        raise Refused(no_column)
    seen = 0
    for row_group in range(len(footer.row_groups)):
        pieces: list[pa.RecordBatch] = []
        first_record = seen + 1
        for batch in batches(file, row_group, look.reading):
            pieces.append(batch.slice(0, look.records - seen))
            seen += pieces[-1].num_rows
            if seen == look.records:
                break
        if pieces:
            yield _part(frame_records(pieces, look.reading, first_record=first_record), look)
        if seen == look.records:
            return


def _part(records: Records, look: Look) -> Part:
    prepared = prepare(records, look.reading, this_year=look.this_year, value_based=look.value_based, detailed=True)
    return Part(records, prepared)


def _items(head: Head, blocks: Iterable[bytes], *, is_whole: bool) -> Iterator[Piece | TooLong]:
    for block in blocks:
        yield from head.feed(block)
        if head.is_done:
            return
    yield from head.finish() if is_whole else head.stop()


def _longest_record(blocks: Iterator[bytes]) -> bytes:
    beginning = b""
    while len(beginning) <= MAX_LINE_BYTES and (block := next(blocks, b"")):
        beginning += block
    return beginning


def _ndjson(reading: Reading) -> _Lines:
    def cutter(checkpoint: Checkpoint, max_records: int) -> Cutter:
        return NdjsonCutter(checkpoint, max_records=max_records)

    def read(piece: Piece) -> Records:
        chunk = piece.chunk
        return read_ndjson(piece.data, reading, first_record=chunk.first_record, first_line=chunk.first_line)

    return _Lines(cutter, read)


def _delimited(beginning: bytes, format_: Format, look: Look) -> _Lines:
    found = table_of(beginning, format_, look.reading, look.delimiter)
    if isinstance(found, Refusal):
        raise Refused(found)
    table: Table = found

    def cutter(checkpoint: Checkpoint, max_records: int) -> Cutter:
        return DelimitedCutter(checkpoint, delimiter=table.delimiter, max_records=max_records)

    def read(piece: Piece) -> Records:
        first = piece.chunk
        return read_table(piece.data, table, look.reading, first_record=first.first_record, first_line=first.first_line)

    return _Lines(cutter, read)


def _too_long(item: TooLong, reading: Reading) -> Records:
    schema = {RECORD: pl.Int64(), LINE: pl.Int64(), **dict.fromkeys(reading.columns, pl.String())}
    reject = RowReject(item.record, item.line, RowReason.LINE_TOO_LONG)
    return Records(count=1, frame=pl.DataFrame(schema=schema), rejects=(reject,))
