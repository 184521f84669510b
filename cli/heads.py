"""The first records of a file on this machine, as a delivery would read them."""

from collections.abc import Iterator
from pathlib import Path

from connector.audience.heads import Look, Refused, parquet_parts, text_parts
from connector.audience.preflight import Part
from connector.files.decoding import Corrupt, decoder
from connector.files.formats import MAGIC_BYTES, FileKind, Refusal, contradiction, kind_of, text_contradiction
from connector.files.limits import LimitViolated
from connector.files.parquet import UnreadableParquet
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
    if isinstance(said, Refusal):
        raise Unreadable(str(Refused(said)))
    with path.open("rb") as file:
        refusal = contradiction(said, file.read(MAGIC_BYTES))
    if refusal is not None:
        raise Unreadable(str(Refused(refusal)))
    return said


def head(path: Path, kind: FileKind, look: Look) -> Iterator[Part]:
    """The first records of the file at *path*.

    Raises:
        Unreadable: It is damaged, violates a limit or has none of the columns.
    """
    try:
        if kind.format is Format.PARQUET:
            with path.open("rb") as file:
                yield from parquet_parts(file, look)
        else:
            yield from text_parts(_decoded(path, kind.compression), kind.format, look)
    except LimitViolated as error:
        raise Unreadable(f"the file is refused: {error}") from None
    except (Corrupt, Refused, UnreadableParquet) as error:
        raise Unreadable(str(error)) from None


def _decoded(path: Path, compression: Compression) -> Iterator[bytes]:
    """What the file decodes to, in blocks."""
    decoding = decoder(compression)
    is_first = compression is not Compression.NONE
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for piece in decoding.feed(block):
                refusal = text_contradiction(piece[:MAGIC_BYTES]) if is_first else None
                if refusal is not None:
                    raise Refused(refusal)
                is_first = False
                yield piece
    decoding.finish()
