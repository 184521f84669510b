"""The first records of a file on this machine, as a delivery would read them."""

from collections.abc import Iterator
from pathlib import Path

from connector.audience.heads import Look, Refused, parts_of
from connector.audience.preflight import Part
from connector.files.decoding import Corrupt
from connector.files.formats import MAGIC_BYTES, FileKind, Refusal, contradiction, kind_of
from connector.files.limits import LimitViolated
from connector.files.parquet_damage import UnreadableParquet
from schemas.events import Compression, FileRef, Format


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
        with path.open("rb") as file:
            yield from parts_of(file, kind, look)
    except LimitViolated as error:
        raise Unreadable(f"the file is refused: {error}") from None
    except (Corrupt, Refused, UnreadableParquet) as error:
        raise Unreadable(str(error)) from None
