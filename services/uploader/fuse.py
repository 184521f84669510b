"""When too much is given up: the line stops before everything lies in the dead-letter topic. Pure.

A defect of ours, a schema nobody understands or a change at Meta makes every chunk a dead letter. Each can be replayed,
but none should have been: after so many in a row, or so large a share of the last ones, somebody has to look.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class FuseBounds:
    """It blows at `row` dead letters in a row, or when more than `share` of the last `window` ends were such."""

    row: int
    share: float
    window: int


class Fuse:
    """Counts how chunks end. What waits or is tried again has not ended and is not told here."""

    def __init__(self, bounds: FuseBounds) -> None:
        self._bounds = bounds
        self._row = 0
        self._dead: deque[bool] = deque(maxlen=bounds.window)
        self.blown: str | None = None

    def arrived(self) -> None:
        """A chunk was delivered."""
        self._row = 0
        self._dead.append(False)

    def died(self) -> bool:
        """A record was given up; whether that blew the fuse: True once, `blown` says why from then on."""
        self._row += 1
        self._dead.append(True)
        if self.blown is None:
            self.blown = self._why()
            return self.blown is not None
        return False

    def _why(self) -> str | None:
        if self._row >= self._bounds.row:
            return f"{self._row} dead letters in a row"
        dead, ends = sum(self._dead), len(self._dead)
        if ends == self._bounds.window and dead > self._bounds.share * ends:
            return f"{dead} of the last {ends} chunks are dead letters"
        return None
