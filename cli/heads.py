"""The first records of a file on this machine, as a delivery would read them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import assert_never

import polars as pl

from connector.audience.heads import part, part_of
from connector.audience.layouts import Reading
from connector.audience.preflight import Part
from connector.audience.records import Records
from connector.audience.records_ndjson import read_ndjson
from connector.audience.records_parquet import parquet_records, top_columns
from connector.files.cutting import MAX_LINE_BYTES, Checkpoint, Cutter, TooLong
from connector.files.decoding import Corrupt, decoder
from connector.files.delimited import DelimitedCutter, read_table
from connector.files.formats import MAGIC_BYTES, FileKind, Refusal, contradiction, kind_of, text_contradiction
from connector.files.header import table_of
from connector.files.heads import Head, Piece
from connector.files.limits import LimitViolated
from connector.files.ndjson import NdjsonCutter
from schemas.events import Compression, FileRef, Format, Table

BLOCK = 1 << 18


class Unreadable(Exception):
    """Why no record of a file can be read, in words for its owner."""


@dataclass(frozen=True)
class Source:
    """A file and how it is read. *delimiter* is the mapping's, for CSV and TSV."""

    path: Path
    kind: FileKind
    reading: Reading
    delimiter: str | None = None


@dataclass(frozen=True)
class Lines:
    """How records are cut from text and read."""

    cutter: Callable[[Checkpoint, int], Cutter]
    read: Callable[[Piece], Records]


def kind(path: Path, format_: Format | None, compression: Compression | None) -> FileKind:
    """What the file at *path* is, by what is said of it or else by its name, and held against its first bytes.

    Raises:
        Unreadable: It is something else.
    """
    said = kind_of(FileRef(name=path.name, store="local", key=path.name, format=format_, compression=compression))
    if isinstance(said, Refusal):
        raise _unreadable(said)
    with path.open("rb") as file:
        refusal = contradiction(said, file.read(MAGIC_BYTES))
    if refusal is not None:
        raise _unreadable(refusal)
    return said


def head(source: Source, *, records: int, this_year: int, value_based: bool) -> Iterator[Part]:
    """The first *records* records of a file, in pieces that fit into memory.

    Raises:
        Unreadable: It is damaged or violates a limit.
    """
    try:
        if source.kind.format is Format.PARQUET:
            yield part(_rows(source, records), source.reading, this_year=this_year, value_based=value_based)
            return
        blocks = _decoded(source)
        # A header is looked for in as much as the longest record; NDJSON has none.
        beginning = b"" if source.kind.format is Format.NDJSON else _longest_record(blocks)
        lines = _lines(source, beginning)
        for item in _items(Head(lines.cutter, wanted=records), chain([beginning], blocks)):
            yield part_of(item, lines.read, source.reading, this_year=this_year, value_based=value_based)
    except Corrupt as error:
        raise Unreadable(str(error)) from None
    except LimitViolated as error:
        raise Unreadable(f"the file is refused: {error}") from None


def _items(head: Head, blocks: Iterable[bytes]) -> Iterator[Piece | TooLong]:
    for block in blocks:
        yield from head.feed(block)
        if head.is_done:
            return
    yield from head.finish()


def _longest_record(blocks: Iterator[bytes]) -> bytes:
    beginning = b""
    while len(beginning) <= MAX_LINE_BYTES and (block := next(blocks, b"")):
        beginning += block
    return beginning


def _lines(source: Source, beginning: bytes) -> Lines:
    match source.kind.format:
        case Format.NDJSON:
            return _ndjson(source.reading)
        case Format.CSV | Format.TSV:
            table = table_of(beginning, source.kind.format, source.reading, source.delimiter)
            if isinstance(table, Refusal):
                raise _unreadable(table)
            return _table(table, source.reading)
        case Format.PARQUET:
            raise ValueError("Parquet has no lines")
        case _:
            assert_never(source.kind.format)


def _ndjson(reading: Reading) -> Lines:
    def cutter(checkpoint: Checkpoint, max_records: int) -> Cutter:
        return NdjsonCutter(checkpoint, max_records=max_records)

    def read(piece: Piece) -> Records:
        chunk = piece.chunk
        return read_ndjson(piece.data, reading, first_record=chunk.first_record, first_line=chunk.first_line)

    return Lines(cutter, read)


def _table(table: Table, reading: Reading) -> Lines:
    def cutter(checkpoint: Checkpoint, max_records: int) -> Cutter:
        return DelimitedCutter(checkpoint, delimiter=table.delimiter, max_records=max_records)

    def read(piece: Piece) -> Records:
        chunk = piece.chunk
        return read_table(piece.data, table, reading, first_record=chunk.first_record, first_line=chunk.first_line)

    return Lines(cutter, read)


def _decoded(source: Source) -> Iterator[bytes]:
    """What the file decodes to, in blocks."""
    decoding = decoder(source.kind.compression)
    is_first = source.kind.compression is not Compression.NONE
    with source.path.open("rb") as file:
        while block := file.read(BLOCK):
            for piece in decoding.feed(block):
                refusal = text_contradiction(piece[:MAGIC_BYTES]) if is_first else None
                if refusal is not None:
                    raise _unreadable(refusal)
                is_first = False
                yield piece
    decoding.finish()


def _rows(source: Source, records: int) -> Records:
    """The first rows of a Parquet file: of the columns that are read, and no more of them than are wanted."""
    try:
        there = pl.read_parquet_schema(source.path)
        columns = [name for name in top_columns(source.reading) if name in there]
        frame = pl.read_parquet(source.path, columns=columns, n_rows=records)
    except pl.exceptions.PolarsError:
        # Its message may quote the file.
        raise Unreadable("the Parquet file is damaged") from None
    return parquet_records(frame, source.reading, first_record=1)


def _unreadable(refusal: Refusal) -> Unreadable:
    return Unreadable(f"{refusal.message}: {refusal.advice}")
