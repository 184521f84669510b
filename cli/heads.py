"""The first records of a file on this machine, as a delivery would read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from connector.audience.heads import part_of
from connector.audience.layouts import Reading
from connector.audience.preflight import Part
from connector.audience.records import Records
from connector.audience.records_ndjson import read_ndjson
from connector.files.cutting import Checkpoint
from connector.files.decoding import Corrupt, decoder
from connector.files.formats import MAGIC_BYTES, FileKind, Refusal, contradiction, kind_of, text_contradiction
from connector.files.heads import Head, Piece
from connector.files.limits import LimitViolated
from connector.files.ndjson import NdjsonCutter
from schemas.events import Compression, FileRef, Format

BLOCK = 1 << 18


class Unreadable(Exception):
    """Why no record of a file can be read, in words for its owner."""


def kind(path: Path, format_: Format | None, compression: Compression | None) -> FileKind:
    """What the file at *path* is, by what is said of it or else by its name, and held against its first bytes.

    Raises:
        Unreadable: It is something else.
    """
    said = kind_of(FileRef(name=path.name, store="local", key=path.name, format=format_, compression=compression))
    if isinstance(said, FileKind):
        with path.open("rb") as file:
            refusal = contradiction(said, file.read(MAGIC_BYTES))
        if refusal is None:
            return said
        said = refusal
    raise _unreadable(said)


def head(
    path: Path, kind: FileKind, reading: Reading, *, records: int, this_year: int, value_based: bool
) -> Iterator[Part]:
    """The first *records* records of the file at *path*, in pieces that fit into memory.

    Raises:
        Unreadable: It is damaged or violates a limit.
    """
    try:
        match kind.format:
            case Format.NDJSON:
                first = Head(_ndjson, wanted=records)
            case Format.CSV | Format.TSV | Format.PARQUET:
                raise Unreadable(f"{kind.format} is not read yet")
            case _:
                assert_never(kind.format)

        def read(piece: Piece) -> Records:
            chunk = piece.chunk
            return read_ndjson(piece.data, reading, first_record=chunk.first_record, first_line=chunk.first_line)

        for block in _decoded(path, kind):
            for item in first.feed(block) if block else first.finish():
                yield part_of(item, read, reading, this_year=this_year, value_based=value_based)
            if first.is_done:
                return
    except Corrupt as error:
        raise Unreadable(str(error)) from None
    except LimitViolated as error:
        raise Unreadable(f"the file is refused: {error}") from None


def _decoded(path: Path, kind: FileKind) -> Iterator[bytes]:
    """The bytes the file decodes to; an empty block is its end."""
    decoding = decoder(kind.compression)
    is_first = kind.compression is not Compression.NONE
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for piece in decoding.feed(block):
                refusal = text_contradiction(piece[:MAGIC_BYTES]) if is_first else None
                if refusal is not None:
                    raise _unreadable(refusal)
                is_first = False
                yield piece
    decoding.finish()
    yield b""


def _ndjson(checkpoint: Checkpoint, max_records: int) -> NdjsonCutter:
    return NdjsonCutter(checkpoint, max_records=max_records)


def _unreadable(refusal: Refusal) -> Unreadable:
    return Unreadable(f"{refusal.message}: {refusal.advice}")
