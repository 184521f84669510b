"""Finding out why Meta refuses a batch: by sending halves of it. Pure; the caller makes the calls.

Two causes look alike from outside: the batch is too large, or a row in it is at fault. Halves are sent until each is
taken or stands alone; a row refused alone is at fault. Once a half was taken whose twin was refused, size is ruled out:
from there on, when the first half of a refused part is taken, the fault lies in the second, which is divided without
asking. One bad row among n is found in at most 2 log2(n) + 1 calls, the logarithm rounded up (27 of 10,000, as the
smaller half goes first). A size limit that lies exactly between two uneven halves looks like a fault: that costs some
calls more, and condemns nobody, because a row is only at fault when it is refused alone.
"""

import math
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar


class Divisible(Protocol):
    """What can be halved; `connector.audience.payload.Batch` is the real one."""

    @property
    def rows(self) -> int:
        """How many rows it has, at least one."""
        ...

    def halves(self) -> tuple[Self, Self]:
        """Two parts of about the same size; never called on a single row."""
        ...


Part = TypeVar("Part", bound=Divisible)


@dataclass
class _Piece(Generic[Part]):
    part: Part
    row_at_fault: bool = False
    twin: "_Piece[Part] | None" = None
    """The half that is sent before this one; None for the first half and for the whole."""
    taken: bool = False


class Halving(Generic[Part]):
    """Ask `next()` what to send, then say `taken()` or `refused()`, until there is nothing to send."""

    def __init__(self, whole: Part) -> None:
        self._pending: list[_Piece[Part]] = [_Piece(whole)]
        self._sent: _Piece[Part] = self._pending[0]

    def next(self) -> Part | None:
        """What to send now; None when every row was taken or found at fault."""
        while self._pending:
            piece = self._pending.pop()
            if piece.row_at_fault and piece.twin is not None and piece.twin.taken and piece.part.rows > 1:
                self._divide(piece, row_at_fault=True)
                continue
            self._sent = piece
            return piece.part
        return None

    @property
    def nothing_left(self) -> bool:
        """Whether what was given last is the last, unless it is refused."""
        return not self._pending

    def taken(self) -> None:
        """Meta took what was sent."""
        self._sent.taken = True

    def refused(self) -> Part | None:
        """Meta refused what was sent; the row at fault when it stood alone."""
        piece = self._sent
        if piece.part.rows == 1:
            return piece.part
        self._divide(piece, row_at_fault=piece.row_at_fault or (piece.twin is not None and piece.twin.taken))
        return None

    def _divide(self, piece: _Piece[Part], *, row_at_fault: bool) -> None:
        smaller, larger = sorted(piece.part.halves(), key=lambda half: half.rows)
        first = _Piece(smaller, row_at_fault)
        self._pending += [_Piece(larger, row_at_fault, first), first]


def most_calls(rows: int) -> int:
    """Calls that finding one bad row among *rows* may take: 2 log2(n) + 1, rounded up. Beyond, it is something else."""
    return 2 * math.ceil(math.log2(max(rows, 1))) + 1
