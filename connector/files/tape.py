"""What is kept of a stream that can only be read forwards, for those who ask for ranges of it. Pure: no clock, no I/O.

A compressed file has no places to jump to: the byte at 3 GiB costs the 3 GiB before it. So one pass serves all ranges.
What it passed and nobody asked for yet is kept, as far as there is room, because ranges are asked for side by side and
slightly out of order. A range is handed out once: who asks again is a retry, and gets a pass of its own.

Positions count whatever the stream is made of: decoded bytes of a text file, rows of a row group.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

Data = TypeVar("Data")

Span = tuple[int, int]
"""Positions from the first (inclusive) to the second (exclusive)."""


class Place(Enum):
    """Where a span lies, seen from a tape."""

    HERE = auto()
    """All of it is kept."""
    AHEAD = auto()
    """It is kept as far as the tape has come; reading on brings the rest."""
    BEHIND = auto()
    """Some of it has passed and is not kept: this tape will never have it."""


@dataclass(frozen=True)
class Kind(Generic[Data]):
    """How pieces of a stream are measured: positions in one, a part of one, the memory one takes."""

    length: Callable[[Data], int]
    part: Callable[[Data, int, int], Data]
    weight: Callable[[Data], int]


def _part(data: bytes, start: int, end: int) -> bytes:
    return data[start:end]


BYTES: Kind[bytes] = Kind(len, _part, len)
"""Decoded text."""


@dataclass
class _Piece(Generic[Data]):
    start: int
    end: int
    data: Data = field(repr=False)
    weight: int


class Tape(Generic[Data]):
    """Pieces in order, gaps between them, the last one ending at `position` or before. `weight` is what they take."""

    def __init__(self, kind: Kind[Data]) -> None:
        self._kind = kind
        self._pieces: list[_Piece[Data]] = []
        self.position = 0
        self.weight = 0

    def append(self, data: Data) -> None:
        """The stream's next piece."""
        start = self.position
        self.position += self._kind.length(data)
        if self.position > start:
            self._pieces.append(self._piece(start, self.position, data))
            self.weight += self._pieces[-1].weight

    def place(self, span: Span) -> Place:
        """Where *span* lies."""
        at, end = span
        for piece in self._pieces:
            if piece.end <= at:
                continue
            if piece.start > at:
                break
            at = piece.end
            if at >= end:
                return Place.HERE
        return Place.AHEAD if at >= self.position else Place.BEHIND

    def take(self, span: Span) -> list[Data]:
        """The pieces of a span that is `HERE`; they are kept no longer. What is left of the outer ones is."""
        start, end = span
        taken: list[Data] = []
        rest: list[_Piece[Data]] = []
        for piece in self._pieces:
            if piece.end <= start or piece.start >= end:
                rest.append(piece)
                continue
            first, last = max(start, piece.start), min(end, piece.end)
            taken.append(self._part(piece, first, last))
            if piece.start < first:
                rest.append(self._piece(piece.start, first, self._part(piece, piece.start, first)))
            if last < piece.end:
                rest.append(self._piece(last, piece.end, self._part(piece, last, piece.end)))
        self._pieces = rest
        self.weight = sum(piece.weight for piece in rest)
        return taken

    def unwanted(self, wanted: Collection[Span]) -> int:
        """What the pieces take that none of the *wanted* spans touches."""
        return sum(piece.weight for piece in self._pieces if not _touches(piece, wanted))

    def drop_oldest(self, wanted: Collection[Span]) -> bool:
        """Forgets the first piece that none of the *wanted* spans touches; False when there is none."""
        for number, piece in enumerate(self._pieces):
            if not _touches(piece, wanted):
                del self._pieces[number]
                self.weight -= piece.weight
                return True
        return False

    def _piece(self, start: int, end: int, data: Data) -> _Piece[Data]:
        return _Piece(start, end, data, self._kind.weight(data))

    def _part(self, piece: _Piece[Data], start: int, end: int) -> Data:
        if (start, end) == (piece.start, piece.end):
            return piece.data
        return self._kind.part(piece.data, start - piece.start, end - piece.start)


def _touches(piece: _Piece[Data], spans: Collection[Span]) -> bool:
    return any(piece.start < end and start < piece.end for start, end in spans)
