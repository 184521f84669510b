"""The first records of a file on this machine, as a delivery would read them."""

import gzip
from collections.abc import Iterator
from pathlib import Path

from connector.audience.heads import part_of
from connector.audience.layouts import Reading
from connector.audience.preflight import Part
from connector.audience.records import Records
from connector.audience.records_ndjson import read_ndjson
from connector.files.heads import Head, Piece
from connector.files.ndjson import Checkpoint, NdjsonCutter

BLOCK = 1 << 18


class Unreadable(Exception):
    """Why no record of a file can be read, in words for its owner."""


def head(path: Path, reading: Reading, *, records: int, this_year: int, value_based: bool) -> Iterator[Part]:
    """The first *records* records of the file at *path*, in pieces that fit into memory.

    Raises:
        Unreadable: It is not what its name says, or violates a limit.
    """

    def read(piece: Piece) -> Records:
        chunk = piece.chunk
        return read_ndjson(piece.data, reading, first_record=chunk.first_record, first_line=chunk.first_line)

    first = Head(_ndjson, wanted=records)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        while not first.is_done:
            block = file.read(BLOCK)
            for item in first.feed(block) if block else first.finish():
                yield part_of(item, read, reading, this_year=this_year, value_based=value_based)


def _ndjson(checkpoint: Checkpoint, max_records: int) -> NdjsonCutter:
    return NdjsonCutter(checkpoint, max_records=max_records)
